"""How the bank is set up: the environment (`LATTICEBANK_...`) wins over a TOML file, and that over the defaults.

The file is the one that `LATTICEBANK_CONFIG` names, else `latticebank.toml` in the working folder if there is one.
`LATTICEBANK_DATABASE_URLS__LEDGER` sets one entry of a table. A name that means nothing is refused, since a slip in
`LATTICEBANK_MODE` would otherwise start a production bank with the settings of a development one.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from latticebank.kernel.production import database_of, is_loopback, production_faults
from latticebank.values.errors import BankError, Fault

SERVICES = ("keys", "identity", "ledger", "payments", "audit")
"""Every service of the bank that has a database, in the order in which they start."""
GATEWAY = "gateway"
"""The door of the bank: it has no database and stands before the others."""
EVERYTHING = (*SERVICES, GATEWAY)
BUS = "bus"
"""The name under which `database_urls` has the database of the event bus."""

KEPT = "kept"
"""The folder, within data folder, archive and backup, of what is kept apart from the databases."""

PREFIX = "LATTICEBANK_"
CONFIG_VARIABLE = "LATTICEBANK_CONFIG"
DEFAULT_FILE = Path("latticebank.toml")
CLIENT_PREFIX = "LATTICEBANK_CLIENT_"
"""Variables of the command line as a customer's own program; they are no settings of the bank."""
_TEST_PREFIX = "LATTICEBANK_TEST_"
DEFAULT_BANK = "latticebank.localhost"
_ADDRESS = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class InvalidSettings(BankError):
    """The bank cannot or must not start as it is set up; `detail` has a line for each wrong setting."""

    code = "invalid-settings"
    title = "The settings are wrong"
    fault = Fault.INVALID


class _Refused(ValueError):
    """Settings that are well-formed one by one and wrong together: (setting, reason) for each."""

    def __init__(self, refusals: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{setting}: {reason}" for setting, reason in refusals))
        self.refusals = refusals


def _each_known_once(services: tuple[str, ...]) -> tuple[str, ...]:
    if set(services) - set(EVERYTHING) or len(set(services)) != len(services):
        raise ValueError(f"name each service once, out of: {', '.join(EVERYTHING)}")
    return services


def _addresses_of_our_services(peers: dict[str, str]) -> dict[str, str]:
    faults = []
    for service, address in peers.items():
        if service not in SERVICES:
            faults.append((f"peers.{service}", "there is no such service"))
        elif not _ADDRESS.fullmatch(address):
            faults.append((f"peers.{service}", "this is no address like https://host:8001"))
    if faults:
        raise _Refused(faults)
    return peers


def _addresses_of_our_databases(urls: dict[str, SecretStr]) -> dict[str, SecretStr]:
    faults = []
    owners: dict[tuple[str, str, str], str] = {}
    for service, url in urls.items():
        address = database_of(url.get_secret_value())
        if service not in {*SERVICES, BUS}:
            faults.append((f"database_urls.{service}", "there is no such service"))
        elif address is None:
            faults.append((f"database_urls.{service}", "this is no URL like postgresql://user:password@host/database"))
        elif (owner := owners.setdefault(address, service)) != service:
            faults.append((f"database_urls.{service}", f"this is the database of {owner}; each service has its own"))
    if faults:
        raise _Refused(faults)
    return urls


Amount = Annotated[str, Field(pattern="^[1-9][0-9]{0,13}$")]
"""A number of whole units of whatever currency."""


class Settings(BaseSettings):
    """Everything that one process of the bank is told from outside. `load_settings` gives the better errors."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    mode: Literal["development", "production"] = "development"
    """Production refuses what only a demonstration may do."""
    services: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_known_once)] = EVERYTHING
    """The services that this process runs."""
    peers: Annotated[dict[str, str], AfterValidator(_addresses_of_our_services)] = {}
    """Service name -> the address of a service that another process runs."""
    bank: Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9.-]*$")] = DEFAULT_BANK
    """The name of the bank in everything that is signed for it; nothing signed for one bank counts at another."""
    data: Path = Path(".latticebank")
    """The bank's data folder."""
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[0-9A-Za-z.:_\[\]-]+$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes a free port."""
    book: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """The tenant whose rows this process keeps."""
    shards: Annotated[int, Field(ge=1, le=90)] = 1
    """Into how many shards the ledger is divided."""
    database_urls: Annotated[dict[str, SecretStr], AfterValidator(_addresses_of_our_databases)] = {}
    """Service name (or "bus") -> postgresql://...; empty: the embedded PostgreSQL."""
    pool_size: Annotated[int, Field(ge=1, le=50)] = 4
    """Connections of each service to its database; all of one server together stay below its `max_connections`."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    """The currency of the account that a new customer gets."""
    kek_passphrase: SecretStr | None = None
    """Opens the file with the key of keys; never keep it in the data folder or in a backup of it."""
    kek_file: Path | None = None
    """The file with the key of keys; kek.sealed in the data folder if it is not named."""
    payment_limit: Amount = "100000"
    """The most that one payment of a customer may be, in whole units of its currency."""
    daily_limit: Amount = "200000"
    """The most that a customer may pay on one business day, of each currency."""
    unverified_payment_limit: Amount = "1000"
    unverified_daily_limit: Amount = "2000"
    approval_from: Amount = "10000"
    """A payment of this or more waits for a manager."""
    high_value_from: Amount = "10000"
    """The payments of this or more that a customer makes within 24 hours are counted ..."""
    high_value_count: Annotated[int, Field(ge=2, le=1_000)] = 5
    """... and from this one on they wait for a manager."""
    approval_hours: Annotated[int, Field(ge=1, le=720)] = 72
    """How long a payment waits for a manager before its money is given back."""
    device_cooling_hours: Annotated[int, Field(ge=0, le=720)] = 24
    """How long a device that joins another cannot pay."""
    archive: Path | None = None
    """A folder, best on another disk, to which every commit of the embedded database goes before it is answered."""
    witnesses: Path | None = None
    """A file that names the witnesses of the log, with their addresses (C2SP tlog-policy)."""
    demo: bool = False
    """Seed a bank to play with; never where others can reach it."""
    event_retention_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """How long the event bus keeps what every consumer has handled."""
    request_timeout_seconds: Annotated[float, Field(ge=0.1, le=300)] = 30.0
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 2**20)] = 2**20
    """The largest body of a request; routes that take more say so themselves."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def kept_folders(self) -> tuple[Path, ...]:
        """Where `kept_apart` keeps what no restore of a database may take back."""
        return tuple(folder / KEPT for folder in (self.data, self.archive) if folder is not None)

    @model_validator(mode="after")
    def _refuse_together(self) -> Self:
        refusals = []
        if self.archive is not None and not self.archive.name:
            refusals.append(("archive", "this names no folder of its own"))
        if self.demo and not is_loopback(self.host):
            refusals.append(("demo", f"a demo bank listens on a loopback address only, not on {self.host}"))
        if self.mode == "production":
            refusals += self._production_refusals()
        if refusals:
            raise _Refused(refusals)
        return self

    def _production_refusals(self) -> list[tuple[str, str]]:
        refusals = []
        if self.demo:
            refusals.append(("demo", "a production bank has no demo data"))
        if self.bank == DEFAULT_BANK:
            refusals.append(("bank", "a production bank has a name of its own, such as its domain"))
        for service, address in self.peers.items():
            if not address.startswith("https://") and not is_loopback(str(urlsplit(address).hostname)):
                refusals.append((f"peers.{service}", "what leaves this machine goes over https"))
        keeping = [name for name in self.services if name != GATEWAY]
        for service in [*keeping, BUS] if keeping else []:
            if service not in self.database_urls:
                reason = "a production bank does not use the embedded database: every service needs a URL"
                refusals.append((f"database_urls.{service}", reason))
        for service, url in self.database_urls.items():
            refusals += [(f"database_urls.{service}", fault) for fault in production_faults(url.get_secret_value())]
        return refusals

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what the code says, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _file())


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process; `overrides` win over the environment and the file.

    Raises:
        InvalidSettings: names every wrong setting with its environment variable, never the value of a secret.

    """
    wrong = _unknown_variables()
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise _invalid(wrong + _wrong_settings(error)) from None  # the cause could show a secret
    except SettingsError as error:
        raise _invalid([*wrong, *_not_json(error)]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid([*wrong, (CONFIG_VARIABLE, f"the file is not TOML: {error}")]) from None
    except OSError as error:
        raise _invalid([*wrong, (CONFIG_VARIABLE, f"{error.filename} cannot be read: {error.strerror}")]) from None
    if wrong:
        raise _invalid(wrong)
    return settings


def _file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if not named:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else None
    with Path(named).open("rb"):  # a file that is named must be there
        return Path(named)


def _unknown_variables() -> list[tuple[str, str]]:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    ours = sorted(name for name in map(str.upper, os.environ) if name.startswith(PREFIX))
    return [
        (name, "there is no such setting")
        for name in ours
        if name.split("__")[0] not in known and not name.startswith((CLIENT_PREFIX, _TEST_PREFIX))
    ]


def _wrong_settings(error: ValidationError) -> list[tuple[str, str]]:
    wrong = []
    for each in error.errors(include_url=False, include_input=False):
        together = each.get("ctx", {}).get("error")
        if isinstance(together, _Refused):
            wrong += together.refusals
        elif each["type"] == "extra_forbidden":
            wrong.append((".".join(map(str, each["loc"])), "there is no such setting"))
        else:
            wrong.append((".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")))
    return wrong


def _not_json(error: SettingsError) -> list[tuple[str, str]]:
    return [
        (name, "this holds a table or a list, and its variable is written in JSON")
        for name in Settings.model_fields
        if f'"{name}"' in str(error)
    ]


def _invalid(wrong: list[tuple[str, str]]) -> InvalidSettings:
    lines = [
        f"{setting}: {reason}" if setting.startswith(PREFIX) else _line(setting, reason) for setting, reason in wrong
    ]
    return InvalidSettings(
        "\n".join(lines), hint="correct them in the environment or in the file of LATTICEBANK_CONFIG"
    )


def _line(setting: str, reason: str) -> str:
    return f"{setting} ({PREFIX}{setting.upper().replace('.', '__')}): {reason}"
