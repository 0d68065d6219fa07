"""The import contracts of pyproject.toml hold: each stops the import it is there to stop, and nothing of the design.

The contracts are run on a small copy of the house, with every room of the design in it, whether it is built yet or not.
"""

import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"

FOLDERS = (
    *("values", "crypto", "documents", "kernel", "security", "banking", "intelligence"),
    *("gateway", "client", "witness", "verify", "runtime", "cli", "bank.py"),
)
SERVICES = (
    "security.identity",
    "security.audit",
    "banking.ledger",
    "banking.payments",
    "intelligence.fraud",
    "gateway",
)
ROOMS = ("api", "jobs", "subscriptions", "service", "store", "model", "wire", "events", "client")

# Who imports whom in the house as designed, in one service of each folder.
AS_DESIGNED = {
    "crypto.composite": ["values"],
    "kernel.outbox": ["values", "crypto.composite", "sqlalchemy", "fastapi"],
    "documents.payment": ["values", "crypto.composite"],
    "banking.payments.model": ["values", "crypto.composite", "documents.payment"],
    "banking.payments.store": ["banking.payments.model", "kernel.outbox", "sqlalchemy"],
    "banking.payments.wire": ["values"],
    "banking.payments.events": ["values"],
    "banking.payments.client": ["banking.payments.wire", "banking.payments.events", "kernel.outbox", "values"],
    "banking.payments.service": [
        "banking.payments.model",
        "banking.payments.store",
        "banking.payments.events",
        "banking.ledger.client",
        "banking.ledger.wire",
        "security.identity.client",
        "intelligence.fraud.client",
    ],
    "banking.payments.api": [
        "banking.payments.service",
        "banking.payments.jobs",
        "banking.payments.subscriptions",
        "banking.payments.wire",
        "kernel.outbox",
        "fastapi",
    ],
    "banking.payments.jobs": ["banking.payments.service"],
    "banking.payments.subscriptions": ["banking.payments.service", "security.identity.events"],
    "banking.ledger.store.postings": ["banking.ledger.model.posting", "psycopg"],
    "banking.ledger.migrations.first": ["alembic", "sqlalchemy"],
    "banking.takeover.books": ["values", "kernel.outbox", "banking.ledger.client", "banking.ledger.wire"],
    "gateway.service": ["security.identity.client", "gateway.model"],
    "client.device": ["documents.payment", "crypto.composite", "kernel.outbox", "banking.payments.wire", "values"],
    "witness.model": ["crypto.composite", "values"],
    "witness.api": ["witness.model", "crypto.composite", "starlette"],
    "verify.receipt": ["cryptography", "decimal"],
    "runtime.demo": ["bank", "client.device", "banking.ledger.client", "sqlalchemy"],
    "bank": ["banking.payments.api", "banking.ledger.store", "gateway.api", "fastapi", "kernel.outbox"],
    "cli.up": ["bank", "runtime.demo", "banking.takeover.books", "witness.api", "verify.receipt", "fastapi"],
}

# The contract, and imports that it must refuse.
OFFENCES = {
    "house": [
        ("values.money", "crypto.composite"),
        ("values.money", "kernel.outbox"),
        ("crypto.composite", "kernel.outbox"),
        ("kernel.outbox", "banking.ledger.client"),
        ("kernel.outbox", "runtime.demo"),
        ("banking.ledger.service", "cli.up"),
        ("security.identity.service", "bank"),
        ("security.identity.service", "gateway.client"),
        ("bank", "cli.up"),
        ("runtime.demo", "cli.up"),
        ("crypto.composite", "documents.payment"),
        ("banking.payments.service", "client.device"),
        ("banking.payments.service", "verify.receipt"),
        ("client.device", "witness.model"),
        ("witness.model", "verify.receipt"),
        ("treasury", "values"),
    ],
    "doors": [
        ("banking.payments.service", "banking.ledger.service"),
        ("banking.payments.service", "banking.ledger.model.posting"),
        ("intelligence.fraud.service", "banking.ledger.store.postings"),
        ("gateway.service", "security.identity.model"),
    ],
    "stairs": [
        ("banking.ledger.service", "banking.ledger.api"),
        ("banking.ledger.service.posting", "banking.ledger.jobs"),
        ("banking.ledger.jobs", "banking.ledger.api"),
        ("banking.ledger.jobs", "banking.ledger.subscriptions"),
        ("gateway.service", "gateway.api"),
    ],
    "landing": [
        ("banking.ledger.api", "banking.ledger.store.postings"),
        ("security.audit.jobs", "security.audit.store"),
        ("gateway.subscriptions", "gateway.store"),
    ],
    "rules": [
        ("banking.ledger.model.posting", "kernel.outbox"),
        ("banking.ledger.model.posting", "banking.ledger.wire"),
        ("gateway.model", "security.identity.client"),
    ],
    "tables": [
        ("banking.ledger.store.postings", "banking.ledger.wire"),
        ("security.audit.store", "security.identity.client"),
    ],
    "speech": [
        ("banking.ledger.wire", "kernel.outbox"),
        ("security.identity.events", "security.identity.wire"),
        ("banking.ledger.events.posted", "crypto.composite"),
    ],
    "callers": [
        ("banking.ledger.client", "crypto.composite"),
        ("security.identity.client", "security.identity.model"),
        ("gateway.client", "gateway.model"),
    ],
    "papers": [
        ("documents.payment", "kernel.outbox"),
        ("documents.payment", "banking.payments.wire"),
    ],
    "customers": [
        ("client.device", "banking.payments.service"),
        ("client.device", "security.identity.client"),
    ],
    "strangers": [
        ("witness.model", "kernel.outbox"),
        ("witness.api", "documents.payment"),
        ("witness.model", "client.device"),
        ("witness.model", "banking.ledger.wire"),
    ],
    "auditors": [
        ("verify.receipt", "values.money"),
        ("verify.receipt", "crypto.composite"),
        ("verify", "documents.payment"),
        ("verify.receipt", "client.device"),
    ],
    "takeover": [
        ("banking.takeover.books", "banking.payments.client"),
        ("banking.takeover", "banking.ledger.events"),
        ("banking.takeover.books", "security.audit.wire"),
    ],
    "sql": [
        ("banking.ledger.service", "sqlalchemy"),
        ("banking.payments.api", "psycopg"),
        ("values.money", "sqlalchemy"),
        ("cli.up", "alembic"),
        ("witness.model", "psycopg"),
    ],
    "web": [
        ("banking.ledger.service", "fastapi"),
        ("banking.ledger.wire", "starlette"),
        ("runtime.demo", "fastapi"),
        ("witness.model", "starlette"),
        ("verify.receipt", "starlette"),
    ],
}


def add_import(house: Path, importer: str, imported: str) -> None:
    """Make the module `importer` and let it import `imported`, both named without the package."""
    top = imported.split(".")[0]
    ours = top in FOLDERS or f"{top}.py" in FOLDERS
    path = house / importer.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in file.relative_to(house).parents:
        (house / folder / "__init__.py").touch()
    with file.open("a") as source:
        source.write(f"import latticebank.{imported}\n" if ours else f"import {imported}\n")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """An empty house with every room of the design, and in it the imports of the design."""
    house = tmp_path / "latticebank"
    modules = [f"{service}.{room}" for service in SERVICES for room in ROOMS]
    folders = ["banking/ledger/store", "banking/ledger/service", "banking/ledger/model", "banking/ledger/events"]
    for folder in [*folders, "banking/takeover", "values", "runtime", "cli"]:
        (house / folder).mkdir(parents=True)
    for module in [*modules, "banking.ledger.model.posting", "values.money"]:
        add_import(house, module, "decimal")
    for importer, imports in AS_DESIGNED.items():
        for imported in imports:
            add_import(house, importer, imported)
    return house


def broken_contracts(house: Path) -> set[str]:
    """The ids of the contracts that this house breaks."""
    run = subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=house.parent,
        env={"PYTHONPATH": str(house.parent), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    broken = {
        contract
        for contract, name in contract_names().items()
        if any(line.startswith(f"{name} BROKEN") for line in run.stdout.splitlines())
    }
    assert bool(run.returncode) == bool(broken)
    return broken


def contract_names() -> dict[str, str]:
    """The id and the name of every contract in pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract["name"] for contract in contracts}


def test_the_house_as_designed_breaks_no_contract(house: Path) -> None:
    assert broken_contracts(house) == set()


def test_every_contract_is_shown_to_hold() -> None:
    assert set(OFFENCES) == set(contract_names())


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        pytest.param(contract, importer, imported, id=f"{contract}: {importer} -> {imported}")
        for contract, offences in OFFENCES.items()
        for importer, imported in offences
    ],
)
def test_an_import_through_a_wall_is_refused(house: Path, contract: str, importer: str, imported: str) -> None:
    add_import(house, importer, imported)
    assert contract in broken_contracts(house)
