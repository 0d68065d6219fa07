"""`latticebank import`: take over a bank's books."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover.progress import Phase
from latticebank.banking.takeover.report import Report
from latticebank.banking.takeover.run import take_over
from latticebank.cli.console import err, out, write_json
from latticebank.cli.reaching import with_ledger


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_books)


def import_books(
    mapping: Annotated[Path, typer.Argument(help="The mapping file (TOML): what the columns mean.")],
    file: Annotated[Path, typer.Argument(help="The transactions (CSV).")],
    correct_rounding: Annotated[
        bool,
        typer.Option("--correct-rounding", help="Make explicit rounding entries so that every stated balance is met."),
    ] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Post the good rows even if others are bad.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the whole report as JSON.")] = False,
) -> None:
    """Take over a bank's books from CSV and compare every stated balance. Run it again to go on where it stopped.

    For example:

        latticebank import examples/berka/mapping.toml trans.asc
    """

    async def do(ledger: LedgerClient) -> Report:
        with _bars() as told:
            return await take_over(
                ledger, mapping, file, correct_rounding=correct_rounding, skip_bad_rows=skip_bad_rows, progress=told
            )

    report = with_ledger(do, create=True)
    if as_json:
        write_json(report.as_json())
    else:
        for line in report.lines():
            out.print(line, markup=False, soft_wrap=True)
    if not report.reconciled:
        raise typer.Exit(1)


class _Bars:
    """Draws a bar for each phase of an import."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[Phase, TaskID] = {}

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        if phase not in self._bars:
            self._bars[phase] = self._progress.add_task(phase.value)
        self._progress.update(self._bars[phase], completed=done, total=total)


@contextmanager
def _bars() -> Iterator[_Bars]:
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        yield _Bars(progress)
