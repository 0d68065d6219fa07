"""What the command line writes: tables and messages for people, JSON for programs."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from latticebank.values.errors import BankError

WIDE = 240
"""Columns of a table that no terminal shows: whoever reads it from a pipe wants the whole of every cell."""

out = Console(highlight=False, emoji=False, width=None if sys.stdout and sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, emoji=False)


class OutputRefused(Exception):
    """Standard output takes nothing: its disk is full, or it is closed. No OSError: no other file is meant."""


class NobodyReads(Exception):
    """Whoever read standard output has left, as `head` does."""


class _Output:
    """Standard output, which tells its own failures from those of all other files. After one of them it takes nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: OutputRefused | NobodyReads | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._told_apart():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._told_apart():
            self._stream.flush()

    def end(self) -> None:
        """Write what is left; raise what failed before, also where a library kept silent about it."""
        self.flush()
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is left in the stream is thrown away: else Python tries again when it ends, and ends with another code.
            with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            reason = f"Standard output cannot be written: {error.strerror or error}. What was done before stays done."
            self._failure = NobodyReads() if isinstance(error, BrokenPipeError) else OutputRefused(reason)
            raise self._failure from error


@contextmanager
def written_out() -> Iterator[None]:
    """Have everything that the block writes to standard output written when it ends.

    Raises:
        OutputRefused, NobodyReads: it cannot be, whatever else the block ends with.

    """
    stream = sys.stdout
    if stream is None:
        raise OutputRefused("Standard output is closed. Nothing was done.")
    output = _Output(stream)
    sys.stdout = cast(TextIO, output)
    try:
        yield
    finally:
        sys.stdout = stream
        output.end()


@contextmanager
def alone() -> Iterator[None]:
    """Let what fails in a group of tasks come out alone: the first of the group, which made the others end."""
    try:
        yield
    except BaseExceptionGroup as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        raise cause from None


def tell_error(error: BankError) -> None:
    """Write an error to standard error: what is wrong, where, and what to do."""
    where = f"{escape(error.field)}: " if error.field else ""
    err.print(f"[bold red]{escape(error.title)}[/]: {where}{escape(error.detail)}", soft_wrap=True)
    if error.hint:
        err.print(f"  {escape(error.hint)}", soft_wrap=True)
    err.print(f"  [dim]({escape(error.code)})[/]", soft_wrap=True)


def write_json(value: Any) -> None:
    """Write a value as one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def write_table(columns: Iterable[tuple[str, str]], rows: Iterable[Iterable[str | None]], title: str = "") -> None:
    """Write a table; a column is a heading and its side, "left" or "right"."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) if cell is not None else "" for cell in row))
    out.print(table)


def this_command() -> str:
    """Return how this command was called, to be repeated in advice: its name if the shell finds it, else its path."""
    called = Path(sys.argv[0])
    if (found := shutil.which(called.name)) is not None and Path(found).resolve() == called.resolve():
        return called.name
    return os.path.relpath(called) if called.is_absolute() and called.is_relative_to(Path.cwd()) else str(called)


class Steps:
    """Tells of slow steps: a spinner while one is under way on a terminal; elsewhere a line each, if `lines`."""

    def __init__(self, *, lines: bool = False) -> None:
        self._lines = lines
        self._status = err.status("", spinner="dots")

    def __call__(self, sentence: str) -> None:
        """Tell what is done now."""
        if err.is_terminal:
            self._status.update(f"{escape(sentence)} ...")
        elif self._lines:
            err.print(f"{sentence} ...", markup=False, soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator["Steps"]:
        """Show the steps until the block ends."""
        if err.is_terminal:
            with self._status:
                yield self
        else:
            yield self

    def done(self) -> None:
        """Take the spinner away."""
        self._status.stop()
