"""How a running bank is found by the command line: a file in its data folder that only its owner reads."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from latticebank.runtime import processes

PRESENCE_FILE = "running.json"


@dataclass(frozen=True)
class Presence:
    """A running bank: its process, its address, and the databases it uses (with their passwords)."""

    pid: int
    started: str
    address: str
    database_urls: dict[str, str]

    @classmethod
    def of_this_process(cls, address: str, database_urls: dict[str, str]) -> Self:
        """Return the presence of this process."""
        here = processes.find(os.getpid())
        return cls(os.getpid(), here.started if here else "", address, database_urls)

    def __repr__(self) -> str:
        return f"Presence(pid={self.pid}, address={self.address!r})"


@contextmanager
def announced(data: Path, presence: Presence) -> Iterator[None]:
    """Leave word of a running bank in its data folder until the block ends."""
    path = data / PRESENCE_FILE
    draft = path.with_name(f".{PRESENCE_FILE}.{presence.pid}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(presence), file)
    draft.replace(path)
    try:
        yield
    finally:
        if (there := running_bank(data)) is not None and there.pid == presence.pid:
            path.unlink(missing_ok=True)


def running_bank(data: Path) -> Presence | None:
    """Return the bank that runs on this data folder; None where there is none, or the one that left word died."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        presence = Presence(**json.loads((data / PRESENCE_FILE).read_text("utf-8")))
        if processes.is_alive(presence.pid, presence.started):
            return presence
    return None
