"""A log as a witness meets it: it grows, signs, and proves; or lies."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

from latticebank.crypto.checkpoints import Checkpoint, LogKey
from latticebank.crypto.log_policy import LogPolicy, parse_policy
from latticebank.crypto.merkle import consistency_proof, leaf_hash, root_of

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)


def lines(old: int, proof: Sequence[bytes]) -> bytes:
    """What stands before the checkpoint in a submission."""
    return "\n".join([f"old {old}", *(b64encode(each).decode() for each in proof), "", ""]).encode()


class Log:
    """A log of so many leaves; `written` tells histories apart."""

    def __init__(self, origin: str = "bank.example/log", size: int = 100, written: str = "", key: LogKey | None = None):
        self.origin = origin
        self.key = key or LogKey.generate()
        self.leaves = [leaf_hash(f"{written}{number}".encode()) for number in range(size)]

    @property
    def policy(self) -> LogPolicy:
        return parse_policy(self.policy_text.encode())

    @property
    def policy_text(self) -> str:
        return "".join(f"log {key.vkey()}\n" for key in self.key.note_keys(self.origin)) + "quorum none\n"

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, root_of(self.leaves[:size]))

    def signed(self, size: int) -> bytes:
        return self.key.sign(self.checkpoint(size), AT)

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(self.leaves[:new], old) if 0 < old < new else []

    def submission(self, old: int, new: int) -> bytes:
        return lines(old, self.proof(old, new)) + self.signed(new)
