"""`latticebank keys`: the tree of keys listed, copied apart from the data that it protects, held, and erased from."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar, get_args

import msgspec
import typer
import uvloop

from latticebank.cli.console import Steps, alone, err, out, write_json, write_table
from latticebank.cli.opening import bank_databases, settings_here
from latticebank.cli.people.asking import confirm
from latticebank.cli.reaching import way_to
from latticebank.client import BankClient
from latticebank.kernel.caller import Credential
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.database import Database
from latticebank.kernel.settings import Settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import Transport
from latticebank.security.identity.wire import ErasureView
from latticebank.security.keys.api import SERVICE
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.service.backup import Restored, restore_backup, write_backup
from latticebank.security.keys.service.keyring import opened_kek
from latticebank.security.keys.service.listing import KeyLine, counted_keys, customers_keys, services_keys
from latticebank.security.keys.service.tombstones import tombstones_of
from latticebank.security.keys.wire import HoldReason, HoldsView
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.ids import Uuid7Source, parse_uuid

T = TypeVar("T")

_MAX_PASSPHRASE_FILE = 4096
_LOOKS = 200
_PAUSE_SECONDS = 0.05

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="The file whose first line is the backup's passphrase; asked for without."),
]
Customer = Annotated[str, typer.Argument(help="The id of the customer.", metavar="CUSTOMER")]
HoldReasonOption = Annotated[str | None, typer.Option("--reason", help=f"Why: {', '.join(get_args(HoldReason))}.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]

keys = typer.Typer(help="Look after the keys of the bank.", no_args_is_help=True)


class BackupFileRefused(BankError):
    """The file of a backup cannot be written or read."""

    code = "backup-file-refused"
    title = "The file of the backup cannot be used"
    fault = Fault.CONFLICT


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(keys, name="keys")


@keys.command("list")
def list_keys(
    customer: Annotated[str | None, typer.Option(help="The id of a customer, to see this customer's keys.")] = None,
    as_json: Json = False,
) -> None:
    """List the keys of the services and count those of the customers, or list those of one customer."""
    wanted = None if customer is None else parse_uuid(customer, "--customer")

    async def read(settings: Settings, database: Database) -> list[KeyLine]:
        if wanted is not None:
            return await customers_keys(database, settings.book, wanted)
        return [*await services_keys(database, settings.book), *await counted_keys(database, settings.book)]

    found = _with_keys(read)
    if as_json:
        write_json(found)
        return
    columns = [("owner", "left"), ("purpose", "left"), ("version", "right"), ("algorithm", "left"), ("state", "left"),
               ("keys", "right"), ("held", "left"), ("id", "left")]  # fmt: skip
    write_table(columns, (_cells(line) for line in found))


@keys.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to be made; one that is there is not overwritten.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Copy all keys and the key of keys into a file that opens with a passphrase of its own.

    For example:

        latticebank keys backup /mnt/safe/keys.sealed --passphrase-file phrase
    """
    passphrase = _passphrase(passphrase_file, confirm=True)
    clock = SystemClock()

    async def copy(settings: Settings, database: Database) -> int:
        kek = await opened_kek(settings, database)
        with _new_file(file) as target:
            return await write_backup(database, settings.book, kek, passphrase, target, clock.now())

    copied = _with_keys(copy)
    out.print(f"{copied} keys are in {file}", markup=False)
    err.print("Keep it apart from the bank's data, and its passphrase apart from both.", markup=False)


@keys.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `latticebank keys backup` made.")],
    passphrase_file: PassphraseFile = None,
    tombstones: Annotated[
        Path | None, typer.Option(help="A copy of the tombstones, where the bank's own are lost.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the keys of a backup back. What was destroyed since stays destroyed, as its tombstone says.

    For example:

        latticebank keys restore /mnt/safe/keys.sealed --passphrase-file phrase
    """
    if not file.is_file():
        raise BackupFileRefused(f"there is no file {file}", field="FILE")
    copied = [] if tombstones is None else _lines(tombstones)
    passphrase = _passphrase(passphrase_file, confirm=False)
    clock = SystemClock()

    async def bring_back(settings: Settings, database: Database) -> Restored:
        await tombstones_of(settings).add_copy(copied)
        with _readable(file) as source:
            return await restore_backup(settings, database, source, passphrase, clock, Uuid7Source(clock))

    restored = _with_keys(bring_back, create=True)
    if as_json:
        write_json(restored)
        return
    told = f"{restored.in_backup} keys in the backup: {restored.added} brought back"
    told = f"{told}, {restored.advanced} brought up to date, {restored.repaired} repaired"
    out.print(f"{told}, {restored.destroyed} destroyed again", markup=False)


@keys.command()
def hold(customer: Customer, reason: HoldReasonOption = None, as_json: Json = False) -> None:
    """Place a legal hold over a customer: while it stands, none of the customer's keys is destroyed.

    For example:

        latticebank keys hold CUSTOMER --reason dispute
    """
    whose, why = parse_uuid(customer, "CUSTOMER"), _hold_reason(reason)
    if why is None:
        raise InvalidValue("say why the keys must be kept", field="--reason", hint=", ".join(get_args(HoldReason)))
    _tell_holds(_as_operator([SERVICE.name], lambda way, by: KeysClient(way, by).place_hold(whose, why)), as_json)


@keys.command()
def release(customer: Customer, reason: HoldReasonOption = None, as_json: Json = False) -> None:
    """Lift the legal hold of a reason over a customer, or all that stand."""
    whose, why = parse_uuid(customer, "CUSTOMER"), _hold_reason(reason)
    _tell_holds(_as_operator([SERVICE.name], lambda way, by: KeysClient(way, by).lift_hold(whose, why)), as_json)


@keys.command("erase-profile")
def erase_profile(
    customer: Customer,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is meant.")] = False,
    as_json: Json = False,
) -> None:
    """Erase the profile of a customer, for ever: no backup brings it back. Ledger, log and receipts still verify."""
    whose = parse_uuid(customer, "CUSTOMER")
    confirm(f"Erase the profile of {whose}, for ever?", yes=yes)

    async def erase(way: Transport, by: Credential) -> ErasureView:
        bank = BankClient(way, credential=by)
        await _ready(bank)
        return await bank.erase_profile(user=whose)

    erased = _as_operator(["identity", SERVICE.name, "ledger"], erase)
    if as_json:
        write_json(erased)
    else:
        told = f"{erased.sessions_ended} sessions ended, {erased.devices_revoked} devices revoked"
        out.print(f"The profile of {whose} is erased: {told}", markup=False)


async def _ready(bank: BankClient) -> None:
    """Wait until identity has its keys: in a bank opened for a while they come a moment later."""
    for _ in range(_LOOKS):
        try:
            await bank.security_info()
        except BankError as error:
            if error.fault is not Fault.UNAVAILABLE:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def _as_operator(names: Sequence[str], do: Callable[[Transport, Credential], Awaitable[T]]) -> T:
    """Return what `do` returns, given the way to the first of these services and what the operator presents there."""
    settings = settings_here()
    configure_logs(level="warning")

    async def within() -> T:
        async with way_to(settings, names) as way:
            return await do(way, operator_credential(settings.data))

    with alone():
        return uvloop.run(within())


def _hold_reason(reason: str | None) -> HoldReason | None:
    if reason is None:
        return None
    try:
        word: HoldReason = msgspec.convert(reason, HoldReason)
    except msgspec.ValidationError:
        raise InvalidValue(f"say one of {', '.join(get_args(HoldReason))}", field="--reason") from None
    return word


def _tell_holds(view: HoldsView, as_json: bool) -> None:
    if as_json:
        write_json(view)
        return
    columns = [("reason", "left"), ("placed", "left"), ("by", "left"), ("lifted", "left"), ("by", "left")]
    write_table(
        columns,
        (
            [each.reason, f"{each.placed_at:%Y-%m-%d %H:%M}", each.placed_by,
             None if each.lifted_at is None else f"{each.lifted_at:%Y-%m-%d %H:%M}", each.lifted_by]
            for each in view.holds
        ),
    )  # fmt: skip


def _with_keys(do: Callable[[Settings, Database], Awaitable[T]], *, create: bool = False) -> T:
    """Return what `do` returns, given the database of keys of the bank that runs on the data folder, or of a closed one."""
    settings = settings_here()
    configure_logs(level="warning")

    async def within(url: str) -> T:
        database = Database(url, application_name="latticebank-keys-command", book=settings.book)
        try:
            return await do(settings, database)
        finally:
            await database.close()

    steps = Steps()
    with alone(), steps.shown(), bank_databases(settings, [SERVICE.name], steps, create=create) as urls:
        steps.done()
        return uvloop.run(within(urls[SERVICE.name]))


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    """Return the passphrase of a backup from a file, or from whoever sits at the terminal."""
    if file is None:
        if not sys.stdin.isatty():
            raise InvalidValue("nobody is here to be asked for the passphrase", hint="give it with --passphrase-file")
        return str(typer.prompt("Passphrase of the backup", hide_input=True, confirmation_prompt=confirm))
    try:
        with file.open(encoding="utf-8") as lines:
            passphrase = lines.readline(_MAX_PASSPHRASE_FILE).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise BackupFileRefused(f"{file} cannot be read", field="--passphrase-file") from error
    if not passphrase:
        raise InvalidValue(f"the first line of {file} is empty", field="--passphrase-file")
    return passphrase


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if os.path.lexists(path):
            raise BackupFileRefused(f"{path} is there already", field="FILE", hint="choose another name")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    except OSError as error:
        raise BackupFileRefused(f"{path} cannot be written: {error.strerror}", field="FILE") from error


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise BackupFileRefused(f"{path} cannot be read: {error.strerror}", field="FILE") from error


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")
    except OSError as error:
        raise BackupFileRefused(f"{path} cannot be read: {error.strerror}", field="--tombstones") from error


def _cells(line: KeyLine) -> list[str | None]:
    version = None if line.version is None else str(line.version)
    return [line.owner, line.purpose, version, line.algorithm, line.state, str(line.keys), ", ".join(line.held or ()),
            None if line.id is None else str(line.id)]  # fmt: skip
