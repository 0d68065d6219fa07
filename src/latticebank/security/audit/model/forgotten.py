"""What is remembered of a log by a bank that has lost its memory: that more was published than anybody here knows."""

from latticebank.security.audit.model.standing import UNKNOWN_SIZE, Remembered, line_of, origin_of, remembered_in


def forgotten(lines: list[bytes], bank: str) -> list[bytes]:
    """Return these lines of what was published, and those by which none of the bank's logs so far may go on.

    Raises:
        LogHalted: a line is none.

    """
    origins = sorted({origin_of(bank, 1), *remembered_in(lines)})
    return list(dict.fromkeys([*lines, *(line_of(Remembered(origin, UNKNOWN_SIZE)) for origin in origins)]))
