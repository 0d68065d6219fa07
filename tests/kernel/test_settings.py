"""Settings: where they come from, which are refused, and that a careless production bank does not start."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from latticebank.kernel.settings import BUS, SERVICES, InvalidSettings, Settings, load_settings

SECRET = "wEsEr-9f3b-dYke"
TAIL = "sslmode=verify-full"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine, and a working folder without a file."""
    for name in list(os.environ):
        if name.upper().startswith("LATTICEBANK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return iter(())


def urls(**wrong: str) -> dict[str, str]:
    """A database for every service of a proper bank; some of them wrong."""
    return {
        name: wrong.get(name, f"postgresql://{name}:{SECRET}@db.bank.example/{name}?{TAIL}")
        for name in (*SERVICES, BUS)
    }


def refusal(**settings: object) -> str:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(**settings)
    assert raised.value.code == "invalid-settings"
    assert SECRET not in str(raised.value) + repr(raised.value)
    assert raised.value.__cause__ is None
    return raised.value.detail


def test_a_bank_starts_without_any_setting_on_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.mode, settings.host, settings.port) == ("development", "127.0.0.1", 8000)
    assert settings.database_urls == {}
    assert not settings.demo


def test_the_environment_wins_over_the_file_and_the_code_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("latticebank.toml").write_text(
        f'port = 1\nbook = 2\nshards = 3\n[database_urls]\nledger = "postgresql://l:{SECRET}@h/l"\n'
    )
    monkeypatch.setenv("LATTICEBANK_BOOK", "20")
    monkeypatch.setenv("LATTICEBANK_SHARDS", "30")
    monkeypatch.setenv("LATTICEBANK_DATABASE_URLS__BUS", f"postgresql://k:{SECRET}@h/k")
    settings = load_settings(shards=40)
    assert (settings.port, settings.book, settings.shards) == (1, 20, 40)
    assert set(settings.database_urls) == {"ledger", "bus"}


def test_the_file_that_the_environment_names_replaces_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("latticebank.toml").write_text("port = 1")
    other = tmp_path / "other.toml"
    other.write_text("shards = 5")
    monkeypatch.setenv("LATTICEBANK_CONFIG", str(other))
    assert (load_settings().port, load_settings().shards) == (8000, 5)
    monkeypatch.setenv("LATTICEBANK_CONFIG", str(tmp_path / "missing.toml"))
    assert "LATTICEBANK_CONFIG" in refusal()
    other.write_text("port = = 1")
    monkeypatch.setenv("LATTICEBANK_CONFIG", str(other))
    assert "not TOML" in refusal()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODE", "prod"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("BOOK", "0"),
        ("BOOK", str(2**31)),
        ("SHARDS", "0"),
        ("SHARDS", "91"),
        ("HOST", ""),
        ("HOST", "a b"),
        ("POOL_SIZE", "0"),
        ("POOL_SIZE", "1000"),
        ("MAX_BODY_BYTES", "1"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("REQUEST_TIMEOUT_SECONDS", "nan"),
        ("SERVICES", '["ledger", "ledger"]'),
        ("SERVICES", '["treasury"]'),
        ("SERVICES", "[]"),
        ("SERVICES", "ledger"),
        ("LOG_LEVEL", "loud"),
        ("DATABASE_URLS", "postgresql://x"),
        ("DATABASE_URLS__LEDGER", f"mysql://x:{SECRET}@h/x"),
        ("DATABASE_URLS__LEDGER", f"postgresql://x:{SECRET}@h"),
        ("DATABASE_URLS__LEDGER", f"postgresql://x:{SECRET}@h:port/x"),
        ("DATABASE_URLS__TREASURY", f"postgresql://x:{SECRET}@h/x"),
    ],
)
def test_a_wrong_setting_is_named_with_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LATTICEBANK_{name}", value)
    assert f"LATTICEBANK_{name}" in refusal()


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATTICEBANK_PORT", "-1")
    monkeypatch.setenv("LATTICEBANK_MODDE", "production")
    monkeypatch.setenv("LATTICEBANK_DATABASE_URLS__LEDGER", f"oracle://{SECRET}")
    Path("latticebank.toml").write_text("prot = 3")
    said = refusal()
    assert len(said.splitlines()) == 4
    assert all(name in said for name in ("PORT", "LATTICEBANK_MODDE", "DATABASE_URLS__LEDGER", "prot"))


def test_a_setting_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no such setting" in refusal(prot=1)
    monkeypatch.setenv("LATTICEBANK_TEST_DATA", "/somewhere")  # of the tests, not of the bank
    load_settings()
    monkeypatch.setenv("LATTICEBANK_DATABASE_URL", f"postgresql://x:{SECRET}@h/x")
    assert "LATTICEBANK_DATABASE_URL: there is no such setting" in refusal()


def test_two_services_do_not_share_a_database() -> None:
    one = f"postgresql://a:{SECRET}@h/bank"
    other = f"postgresql://b:{SECRET}@h:5432/bank"
    assert "each service has its own" in refusal(database_urls={"ledger": one, "bus": other})


def test_a_secret_is_never_shown() -> None:
    settings = load_settings(mode="production", bank="bank.example", database_urls=urls())
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in shown
    assert SECRET in settings.database_urls["ledger"].get_secret_value()
    with pytest.raises(ValidationError) as raised:
        Settings(port=-1, database_urls={"ledger": f"postgresql://x:{SECRET}@h"})  # type: ignore[dict-item]
    assert SECRET not in str(raised.value) + repr(raised.value)


def test_a_proper_production_bank_starts_and_may_listen_to_the_world() -> None:
    settings = load_settings(mode="production", bank="bank.example", host="0.0.0.0", database_urls=urls())
    assert settings.mode == "production"


def test_a_production_bank_has_a_name_of_its_own() -> None:
    assert "LATTICEBANK_BANK" in refusal(mode="production", database_urls=urls())


def test_services_elsewhere_are_reached_over_https_unless_they_are_here() -> None:
    given = {"mode": "production", "bank": "bank.example", "database_urls": urls()}
    assert load_settings(**given, peers={"identity": "https://identity:8001"}).peers
    assert load_settings(**given, peers={"identity": "http://127.0.0.1:8001"}).peers
    assert "LATTICEBANK_PEERS__IDENTITY" in refusal(**given, peers={"identity": "http://identity:8001"})
    assert "LATTICEBANK_PEERS__NOBODY" in refusal(peers={"nobody": "https://nobody:1"})
    assert "LATTICEBANK_PEERS__LEDGER" in refusal(peers={"ledger": "ledger:8002"})


def test_a_gateway_by_itself_needs_no_database() -> None:
    assert load_settings(mode="production", bank="bank.example", services=("gateway",)).database_urls == {}


def test_what_belongs_to_the_command_line_is_no_setting_of_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATTICEBANK_CLIENT_WALLET", "somewhere")
    load_settings()


def test_a_production_bank_does_not_use_the_embedded_database() -> None:
    said = refusal(mode="production")
    assert "LATTICEBANK_DATABASE_URLS__LEDGER" in said
    assert "LATTICEBANK_DATABASE_URLS__BUS" in said
    without_bus = {name: url for name, url in urls().items() if name != BUS}
    assert "LATTICEBANK_DATABASE_URLS__BUS" in refusal(mode="production", database_urls=without_bus)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://ledger@db.bank.example/ledger?{TAIL}", "no password"),
        (f"postgresql://ledger:ledger@db.bank.example/ledger?{TAIL}", "tries first"),
        (f"postgresql://ledger:Ledger@db.bank.example/ledger?{TAIL}", "tries first"),
        (f"postgresql://ledger:postgres@db.bank.example/ledger?{TAIL}", "tries first"),
        (f"postgresql://ledger:Password@db.bank.example/ledger?{TAIL}", "tries first"),
        ("postgresql://ledger:changeme@/ledger?host=/run/postgresql", "tries first"),
        (f"postgresql://ledger:{SECRET}@db.bank.example/ledger", "verify-full"),
        (f"postgresql://ledger:{SECRET}@db.bank.example/ledger?sslmode=require", "verify-full"),
        (f"postgresql://ledger:{SECRET}@db.bank.example/ledger?sslmode=verify-ca", "verify-full"),
        (f"postgresql://ledger:{SECRET}@localhost,db.bank.example/ledger", "verify-full"),
        (f"postgresql://ledger:{SECRET}@localhost/ledger?hostaddr=10.0.0.7", "verify-full"),
        (f"postgresql://ledger:{SECRET}@localhost.bank.example/ledger", "verify-full"),
        (f"postgresql://ledger:{SECRET}@/ledger", "host"),
    ],
)
def test_a_production_bank_refuses_a_careless_database(url: str, why: str) -> None:
    said = refusal(mode="production", database_urls=urls(ledger=url))
    assert "LATTICEBANK_DATABASE_URLS__LEDGER" in said
    assert why in said
    load_settings(mode="development", database_urls=urls(ledger=url))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ledger:{SECRET}@/ledger?host=/run/postgresql",
        f"postgresql://ledger:{SECRET}@127.0.0.1/ledger",
        f"postgresql://ledger:{SECRET}@[::1]/ledger",
        f"postgresql://ledger:{SECRET}@localhost/ledger",
        f"postgresql://ledger:{SECRET}@one.example,two.example/ledger?{TAIL}",
    ],
)
def test_a_production_bank_accepts_a_connection_that_stays_here_or_is_verified(url: str) -> None:
    load_settings(mode="production", bank="bank.example", database_urls=urls(ledger=url))


def test_demo_data_is_never_where_others_can_reach_it() -> None:
    assert "LATTICEBANK_DEMO" in refusal(mode="production", demo=True, database_urls=urls())
    for host in ("0.0.0.0", "192.168.1.7", "::", "bank.example", "127.0.0.1.bank.example"):
        assert "LATTICEBANK_DEMO" in refusal(demo=True, host=host)
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        load_settings(demo=True, host=host)
