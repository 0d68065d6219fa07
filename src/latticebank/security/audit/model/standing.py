"""Whether a log may go on: it never says anything that does not begin with all that it has said before.

What was published is remembered outside of the database, and by witnesses. A database that was restored from a backup, or
that somebody rewrote, is held against that memory before anything is appended to it or signed.
"""

from typing import Annotated

from msgspec import DecodeError, Meta, Struct, ValidationError, json

from latticebank.values.errors import BankError, Fault

NEW_LOG = (
    "bring back the database of audit as it was, with the archive of its write-ahead log (latticebank restore); if the "
    "missing entries are lost for good, begin a new log with `latticebank log begin-anew`"
)


UNKNOWN_SIZE = 2**62
"""The size of which no log is: one that was published up to nobody knows where never fits."""


class LogHalted(BankError):
    """The log does not fit what was published of it: nothing is appended, and nothing signed."""

    code = "log-halted"
    title = "The log stands still"
    fault = Fault.UNAVAILABLE


class Remembered(Struct, frozen=True):
    """What was said of a log: its size and, where that is known, the root in hexadecimal."""

    origin: str
    size: Annotated[int, Meta(ge=0)]
    root: str = ""


def origin_of(bank: str, log: int) -> str:
    """Return the origin of a log of a bank: `<bank>/log`, and `<bank>/log/2` of the second."""
    return f"{bank}/log" if log == 1 else f"{bank}/log/{log}"


def remembered_in(lines: list[bytes]) -> dict[str, Remembered]:
    """Return the furthest that was said of each log; lines are those that `line_of` makes.

    A log of which two trees of one size were said is one of which nobody knows how far it goes.

    Raises:
        LogHalted: a line is none: whoever changed it may have made the log forget.

    """
    furthest: dict[str, Remembered] = {}
    for line in lines:
        try:
            said = json.decode(line, type=Remembered)
        except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise LogHalted(
                "what was published of the log cannot be read where it is kept", hint="restore the file log-published"
            ) from error
        known = furthest.get(said.origin)
        if known is not None and known.size == said.size and known.root and said.root and known.root != said.root:
            furthest[said.origin] = Remembered(said.origin, UNKNOWN_SIZE)
        elif known is None or (said.size, bool(said.root)) > (known.size, bool(known.root)):
            furthest[said.origin] = said
    return furthest


def line_of(said: Remembered) -> bytes:
    """Return the line by which this is remembered."""
    return json.encode(said)


def require_growth(size: int, said: Remembered) -> None:
    """Return if a log of this many leaves may be what it was said to be.

    Raises:
        LogHalted: it has lost some.

    """
    if said.size >= UNKNOWN_SIZE:
        raise LogHalted("nobody knows how much of this log was published, or two trees of one size were", hint=NEW_LOG)
    if size < said.size:
        raise LogHalted(f"the log in the database has {size} leaves, and {said.size} were published", hint=NEW_LOG)


def require_same(root: bytes, said: Remembered) -> None:
    """Return if the tree of the size that was said has the root that was said.

    Raises:
        LogHalted: it has another: the log has forked.

    """
    if said.root and root.hex() != said.root:
        raise LogHalted(f"the first {said.size} leaves in the database are not those that were published", hint=NEW_LOG)
