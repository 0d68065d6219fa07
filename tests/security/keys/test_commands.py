"""`latticebank keys`: listing, backing up and restoring from the command line, on the bank's databases."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
import typer
import uvloop
from typer.testing import CliRunner, Result

from latticebank.cli import keys
from latticebank.kernel.database import Database
from latticebank.kernel.settings import Settings
from latticebank.runtime.presence import Presence, announced
from latticebank.security.keys.model import Tombstone
from latticebank.security.keys.service.backup import DifferentKeyTree
from latticebank.security.keys.service.keyring import open_keyring
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError, InvalidValue
from latticebank.values.ids import Uuid7Source
from tests.security.keys.desk import ADA_ID, TOKEN_SIGNING


class Terminal:
    """Runs the commands on a data folder and a database."""

    def __init__(self, folder: Path, url: str, bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = typer.Typer()
        keys.register(self.app)
        self.url = url
        self.settings = Settings(data=folder / "bank", demo=True)
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("eleven pipers piping\n")
        monkeypatch.setenv("LATTICEBANK_DATA", str(folder / "bank"))
        monkeypatch.setenv("LATTICEBANK_DEMO", "true")
        monkeypatch.setenv("LATTICEBANK_DATABASE_URLS__KEYS", url)
        monkeypatch.setenv("LATTICEBANK_DATABASE_URLS__BUS", bus)

    def run(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(self.app, ["keys", *arguments])

    def refused(self, *arguments: str) -> BankError:
        """How a command is refused."""
        error = self.run(*arguments).exception
        assert isinstance(error, BankError)
        return error

    def fill(self) -> None:
        """Have the keys of a service and a customer."""

        async def make() -> None:
            database, clock = Database(self.url, application_name="test-fill"), SystemClock()
            keyring = await open_keyring(self.settings, database, clock, Uuid7Source(clock))
            await keyring.own_keys("identity", [TOKEN_SIGNING])
            await keyring.create_customer_keys(ADA_ID, "Service:identity")
            await database.close()

        uvloop.run(make())


@pytest.fixture
def terminals(
    database_url: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: StringIO
) -> Callable[[str], Terminal]:
    """Makes terminals, each at a bank of its own; the last made is where commands go."""

    def make(name: str) -> Terminal:
        (tmp_path / name).mkdir()
        return Terminal(tmp_path / name, database_url("keys"), database_url("bus"), monkeypatch)

    return make


@pytest.fixture
def terminal(terminals: Callable[[str], Terminal]) -> Terminal:
    """A terminal at a bank with keys."""
    made = terminals("here")
    made.fill()
    return made


def test_keys_are_listed_without_secrets(terminal: Terminal) -> None:
    lines = json.loads(terminal.run("list", "--json").stdout)
    assert [(line["owner"], line["purpose"], line["state"], line["keys"]) for line in lines] == [
        ("service:identity", "token-signing", "active", 1),
        ("service:keys", "customer-keys/guard", "active", 1),
        ("service:keys", "customer-keys/sealing", "active", 1),
        ("customers", "profile", "active", 1),
        ("customers", "records", "active", 1),
    ]
    of_ada = json.loads(terminal.run("list", "--customer", str(ADA_ID), "--json").stdout)
    assert [(line["purpose"], line["version"]) for line in of_ada] == [("profile", 1), ("records", 1)]
    table = terminal.run("list")
    assert table.exit_code == 0
    assert "ML-DSA-65" in table.stdout
    assert isinstance(terminal.refused("list", "--customer", "ada"), InvalidValue)


def test_a_backup_is_made_and_restored_into_an_empty_bank(
    terminal: Terminal, terminals: Callable[[str], Terminal], tmp_path: Path
) -> None:
    file = tmp_path / "keys.backup"
    listed = terminal.run("list", "--json").stdout
    done = terminal.run("backup", str(file), "--passphrase-file", str(terminal.passphrase))
    assert (done.exit_code, "5 keys" in done.stdout) == (0, True), done.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "keys.backup"]

    there = terminals("there")
    restored = there.run("restore", str(file), "--passphrase-file", str(there.passphrase), "--json")
    assert json.loads(restored.stdout) == {"in_backup": 5, "added": 5, "advanced": 0, "repaired": 0, "destroyed": 0}
    assert there.run("list", "--json").stdout == listed
    again = there.run("restore", str(file), "--passphrase-file", str(there.passphrase))
    assert "0 brought back" in again.stdout

    other = terminals("other")
    other.fill()
    assert isinstance(other.refused("restore", str(file), "--passphrase-file", str(other.passphrase)), DifferentKeyTree)


def test_a_running_bank_is_backed_up_where_it_runs(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("KEYS", "BUS"):
        monkeypatch.delenv(f"LATTICEBANK_DATABASE_URLS__{name}")
    presence = Presence.of_this_process("http://localhost:1", {"keys": terminal.url})
    with announced(terminal.settings.data, presence):
        assert len(json.loads(terminal.run("list", "--json").stdout)) == 5
        made = terminal.run("backup", str(tmp_path / "copy"), "--passphrase-file", str(terminal.passphrase))
        assert made.exit_code == 0, made.output
    assert terminal.refused("list").code == "no-bank-here"


def test_a_file_that_is_there_is_not_overwritten_and_a_failed_backup_leaves_none(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "keys.backup"
    file.write_text("something dear")
    given = ("--passphrase-file", str(terminal.passphrase))
    assert terminal.refused("backup", str(file), *given).code == "backup-file-refused"
    assert file.read_text() == "something dear"
    assert terminal.refused("backup", str(tmp_path / "gone" / "file"), *given).code == "backup-file-refused"
    (terminal.settings.data / "kek.demo").unlink()
    assert terminal.refused("backup", str(tmp_path / "other"), *given).code == "kek-refused"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "keys.backup"]


def test_a_backup_needs_a_passphrase_and_a_restore_a_file(terminal: Terminal, tmp_path: Path) -> None:
    file = str(tmp_path / "keys.backup")
    assert "--passphrase-file" in str(terminal.refused("backup", file))
    terminal.passphrase.write_text("\n")
    assert "is empty" in str(terminal.refused("backup", file, "--passphrase-file", str(terminal.passphrase)))
    assert terminal.refused("backup", file, "--passphrase-file", str(tmp_path / "x")).code == "backup-file-refused"
    assert terminal.refused("restore", file, "--passphrase-file", str(tmp_path / "x")).code == "backup-file-refused"
    assert not Path(file).exists()


def test_a_hold_is_placed_shown_and_lifted(terminal: Terminal) -> None:
    ada = str(ADA_ID)
    held = json.loads(terminal.run("hold", ada, "--reason", "court-order", "--json").stdout)
    assert (held["user"], held["held"], [each["reason"] for each in held["holds"]]) == (ada, True, ["court-order"])
    lines = json.loads(terminal.run("list", "--customer", ada, "--json").stdout)
    assert [line["held"] for line in lines] == [["court-order"], ["court-order"]]
    assert "court-order" in terminal.run("list", "--customer", ada).stdout
    lifted = json.loads(terminal.run("release", ada, "--json").stdout)
    assert (lifted["held"], lifted["holds"][0]["lifted_by"]) == (False, "Operator:break-glass")
    assert "court-order" in terminal.run("release", ada, "--reason", "court-order").stdout
    for arguments in (("hold", ada), ("hold", ada, "--reason", "whim"), ("hold", "ada", "--reason", "dispute")):
        assert isinstance(terminal.refused(*arguments), InvalidValue)
    assert isinstance(terminal.refused("release", ada, "--reason", "whim"), InvalidValue)
    assert terminal.refused("release", str(UUID(int=7))).code == "key-not-found"


def test_a_restore_takes_a_copy_of_the_tombstones(
    terminal: Terminal, terminals: Callable[[str], Terminal], tmp_path: Path
) -> None:
    given = ("--passphrase-file", str(terminal.passphrase))
    file, copy = tmp_path / "keys.backup", tmp_path / "tombstones"
    assert terminal.run("backup", str(file), *given).exit_code == 0
    copy.write_bytes(Tombstone(1, f"customer:{ADA_ID}", "profile", SystemClock().now()).to_line() + b"\n")

    there = terminals("there")
    assert (
        there.refused("restore", str(file), *given, "--tombstones", str(tmp_path / "x")).code == "backup-file-refused"
    )
    (tmp_path / "letter").write_text("dear bank\n")
    damaged = there.refused("restore", str(file), *given, "--tombstones", str(tmp_path / "letter"))
    assert damaged.code == "tombstone-damaged"
    done = there.run("restore", str(file), *given, "--tombstones", str(copy), "--json")
    assert json.loads(done.stdout) == {"in_backup": 5, "added": 5, "advanced": 0, "repaired": 0, "destroyed": 1}
    of_ada = json.loads(there.run("list", "--customer", str(ADA_ID), "--json").stdout)
    assert [(line["purpose"], line["state"]) for line in of_ada] == [("profile", "destroyed"), ("records", "active")]
    again = there.run("restore", str(file), *given)
    assert (again.exit_code, "0 destroyed again" in again.stdout) == (0, True)


def test_an_erasure_is_asked_about_first(terminal: Terminal) -> None:
    assert terminal.refused("erase-profile", str(ADA_ID)).code == "nobody-to-ask"
    assert isinstance(terminal.refused("erase-profile", "ada", "--yes"), InvalidValue)
