"""`latticebank backup` and `restore`: the databases of a bank with the embedded PostgreSQL, and the way back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from latticebank.cli.console import Steps, err, out, this_command, write_json
from latticebank.cli.reaching import refuse_nothing_here
from latticebank.kernel.settings import Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.runtime.archive import Archive
from latticebank.runtime.backup import Pruned, Whose, keep_newest, make_backup, require_place_of_backups
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.data_folder import EMBEDDED
from latticebank.runtime.disk import told_of_copies
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.presence import running_bank
from latticebank.runtime.restore import Restored, Wanted
from latticebank.runtime.restore import restore as restore_bank
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError, Fault, InvalidValue

_MEBIBYTE = 1024 * 1024

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


class NotEmbedded(BankError):
    """The databases are on a server that the bank does not run."""

    code = "not-embedded"
    title = "The bank does not run its database"
    fault = Fault.REFUSED


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept; each gets a folder of its own in it.")],
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="Then delete all but so many, and the archived log that none of those left in FOLDER needs."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy all databases of the bank at one instant, while it runs or while it is closed, and verify the copy.

    Keys are not in it: `latticebank keys backup` copies them, to be kept elsewhere. With an archive, keep the backups in one
    folder: `--keep` looks at no other, and older backups elsewhere no longer lead on.

    For example:

        latticebank backup /mnt/backups --keep 14
    """
    configure_logs(level="warning")
    settings = load_settings()
    steps = Steps()
    whose = Whose(settings.bank, settings.book, settings.data, settings.kept_folders)
    require_place_of_backups(folder, whose)
    with steps.shown(), told_of_copies(settings.data), _server_url(settings, steps) as url:
        made = make_backup(folder, url, whose, binaries_of_the_wheel(), SystemClock(), steps)
        archive = None if settings.archive is None else Archive.at(settings.archive)
        pruned = keep_newest(folder, keep, made, archive) if keep else Pruned([], 0, [])
        steps.done()
    if as_json:
        told = {"deleted": pruned.deleted, "pruned_segments": pruned.segments, "broken": pruned.broken}
        write_json({"backup": made, **told})
        return
    out.print(f"{made.bytes // _MEBIBYTE} MiB are in {folder / made.name}, verified", markup=False, soft_wrap=True)
    if pruned.deleted or pruned.segments:
        names = ", ".join(pruned.deleted) or "no backup"
        out.print(f"deleted: {names}; {pruned.segments} segments of the archive", markup=False, soft_wrap=True)
    _tell_of_broken(pruned.broken)
    advice = "Keys are not in it: back them up with `latticebank keys backup`, and keep that elsewhere."
    err.print(advice, markup=False, soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A backup, or a folder of them: the best is taken.")],
    data: Annotated[Path, typer.Option(help="The data folder of the restored bank; it must have none yet.")],
    archive: Annotated[
        Path | None, typer.Option(help="The archive that leads on from the backup.", show_default="LATTICEBANK_ARCHIVE")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Up to when, like 2026-11-20T10:15:30Z; all without.")
    ] = None,
    timeline: Annotated[
        int | None, typer.Option(min=1, help="Along which timeline of the archive.", show_default="the last in use")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option(help="The folder `kept` of the old data folder; the archive has a copy of it.")
    ] = None,
    without_kept: Annotated[
        bool, typer.Option("--without-kept", help="That folder is lost for good: the log has to begin anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Bring the databases of a bank back from a backup, and on through its archive to the end or to a moment.

    What the bank published, and whom it erased, stands outside of the databases; no restore takes it back. It comes from
    the archive or from `--kept`, and without both nothing is restored, unless `--without-kept` says that it is lost.

    For example:

        latticebank restore /mnt/backups --data restored --archive /mnt/archive
        latticebank restore /mnt/backups --data yesterday \
            --to 2026-11-19T23:59:59Z
        latticebank restore /mnt/backups --data new --kept old/kept
    """
    configure_logs(level="warning")
    settings = load_settings()
    moment = None if until is None else _moment(until)
    wanted = Wanted(source, archive or settings.archive, moment, timeline, kept, without_kept)
    steps = Steps(lines=not as_json)
    with steps.shown():
        restored = restore_bank(wanted, data, steps)
        steps.done()
    if as_json:
        write_json(restored)
    else:
        _tell(restored, data, wanted)


@contextmanager
def _server_url(settings: Settings, steps: Steps) -> Iterator[str]:
    """Yield the URL of the embedded server: of the bank that runs here, or started for a while, as it was left.

    Raises:
        NotEmbedded: the databases of this bank are elsewhere.
        NoBankHere: there is no bank in the data folder.

    """
    presence = running_bank(settings.data)
    if presence is not None:
        elsewhere = {url.get_secret_value() for url in settings.database_urls.values()}
        here = [url for url in presence.database_urls.values() if url not in elsewhere]
        if here and (settings.data / EMBEDDED).exists():
            yield here[0]
            return
    elif (settings.data / EMBEDDED).exists():
        with EmbeddedPostgres(settings.data / EMBEDDED, progress=steps, archive=settings.archive) as server:
            yield server.url("postgres")
        return
    refuse_nothing_here(settings)
    raise NotEmbedded(
        "the databases of this bank are on a server of their own", hint="back them up with the tools of that server"
    )


def _moment(text: str) -> datetime:
    """Return the time that is meant, in UTC where no other zone is named."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{text!r} is no time like 2026-11-20T10:15:30Z", field="--to") from error


def _tell_of_broken(names: list[str]) -> None:
    if names:
        told = f"Passed over, since their backup.json is damaged: {', '.join(names)}"
        err.print(told, markup=False, soft_wrap=True)


def _tell(restored: Restored, data: Path, wanted: Wanted) -> None:
    backup = restored.backup
    last = (
        _shown(restored.last_commit) if restored.last_commit else f"none after the backup, of {_shown(backup.ended_at)}"
    )
    out.print(f"restored in {restored.seconds:.1f} s into {data}", markup=False, soft_wrap=True)
    for name, value in (
        ("backup", f"{backup.name} of {backup.bank}"),
        ("log replayed", f"{restored.segments} segments, up to {restored.position}"),
        ("last transaction", last),
        ("timeline", f"{restored.timeline}, new"),
    ):
        out.print(f"  {name:<20}{value}", markup=False, soft_wrap=True)
    if wanted.until is not None:
        left_out = f"{restored.left_out} transaction{'' if restored.left_out == 1 else 's'}"
        if restored.left_out_until is not None:
            left_out += f", the last of {_shown(restored.left_out_until)}"
        out.print(f"  {'left out':<20}{left_out}", markup=False, soft_wrap=True)
    _tell_of_broken(restored.passed_over)
    if wanted.archive is None:
        err.print("No archive was named: what came after the backup is not there.", markup=False, soft_wrap=True)
    command = this_command()
    if not restored.kept_apart:
        lost = (
            f"What the bank kept apart after {_shown(restored.backup.ended_at)} is lost. Whoever was erased since then is back, "
            "and nothing here can tell who: erase them again. The log cannot go on and has to begin anew."
        )
        err.print(lost, markup=False, soft_wrap=True)
    lines = [
        "Next:",
        f"  export LATTICEBANK_DATA={data.absolute()}",
        "  put the key of keys there (kek.sealed), or bring the keys back:",
        f"    {command} keys restore FILE",
        f"  {command} ledger check --signatures",
        *([] if restored.kept_apart else [f"  {command} log begin-anew"]),
        f"  {command} serve",
    ]
    for line in lines:
        err.print(line, markup=False, soft_wrap=True)


def _shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="milliseconds")
