"""What programs of others say about a log of ours, and what they sign themselves."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latticebank.crypto.checkpoints import Checkpoint
from latticebank.crypto.notes import NoteKey, parse_vkey


class FoundWrong(Exception):
    """A program of others refuses a log."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a program of others found in a log: all entries, tiles and signatures verified."""

    checkpoint: Checkpoint
    tiles: int
    proofs: int
    times: tuple[str, ...]
    last_entries: tuple[str, ...]
    """The last three, in base64."""


@dataclass(frozen=True, slots=True)
class SignedByOthers:
    """A note signed by keys of others: the two of the log, and a witness of each type."""

    log: tuple[NoteKey, ...]
    witnesses: tuple[NoteKey, ...]
    note: bytes


class OutsidePrograms:
    """The built programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read_log(self, prefix: str, log: Sequence[NoteKey], witnesses: Sequence[NoteKey] = ()) -> Reading:
        """Have a log read and verified from its address, `log` being its Ed25519 and its ML-DSA-44 key.

        Raises:
            FoundWrong: it does not verify; all of the keys must have signed.

        """
        keys = [key.vkey() for key in log]
        told = json.loads(self._run("readlog", prefix, *keys, "--", *(key.vkey() for key in witnesses)))
        checkpoint = Checkpoint(told["origin"], told["size"], bytes.fromhex(told["root"]))
        return Reading(checkpoint, told["tiles"], told["proofs"], tuple(told["times"]), tuple(told["entries"] or ()))

    def sign(self, origin: str, size: int, root: str) -> SignedByOthers:
        """Have a checkpoint signed by fresh keys; `root` is base64."""
        told = json.loads(self._run("signlog", origin, str(size), root))
        log, witnesses = (tuple(parse_vkey(key) for key in told[name]) for name in ("log", "witnesses"))
        return SignedByOthers(log, witnesses, told["note"].encode())

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._folder / name, *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != 0:
            raise FoundWrong(done.stderr.strip())
        return done.stdout
