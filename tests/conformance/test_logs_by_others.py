"""Programs of others read and verify our logs, find what is wrong with them, and sign what we verify.

The client of Tessera reads (C2SP tlog-tiles); the sumdb packages of Go compute trees and proofs; the note packages of Go
and transparency.dev verify and make signatures of the types 0x01, 0x04 and 0x06.
"""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey, cosigned_at, open_checkpoint
from latticebank.crypto.errors import InvalidSignature, NotSigned
from latticebank.crypto.notes import parse_note
from tests.conformance.log_folder import served, write_log
from tests.conformance.outside_programs import FoundWrong, OutsidePrograms

ORIGIN = "bank.example/log"
AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
KEY = LogKey.generate()
KEYS = KEY.note_keys(ORIGIN)
WITNESS = CosignerKey.from_seed("witness.example/w1", bytes(32))


def leaves(count: int) -> list[bytes]:
    return [b"\x01" + sha256(number.to_bytes(4)).digest() for number in range(count)]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 1_000, 65_536, 70_001])
def test_others_verify_every_entry_tile_proof_and_signature_of_a_log(
    outside: OutsidePrograms, tmp_path: Path, size: int
) -> None:
    entries = leaves(size)
    checkpoint = write_log(tmp_path, ORIGIN, KEY, entries, AT, [WITNESS])

    with served(tmp_path) as prefix:
        reading = outside.read_log(prefix, KEYS, [WITNESS.note_key()])

    assert reading.checkpoint == checkpoint
    assert reading.tiles == sum(1 for path in (tmp_path / "tile").glob("[0-9]*/**/*") if path.is_file())
    assert reading.proofs >= 2
    assert reading.times == ("2026-11-20T10:00:00Z",) * 2
    assert [*reading.last_entries] == [b64encode(entry).decode() for entry in entries[-3:]]


def test_others_read_an_empty_log(outside: OutsidePrograms, tmp_path: Path) -> None:
    checkpoint = write_log(tmp_path, ORIGIN, KEY, [], AT)
    with served(tmp_path) as prefix:
        assert outside.read_log(prefix, KEYS).checkpoint == checkpoint


def altered(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def signed_by(key: LogKey) -> Callable[[Path], None]:
    def sign(folder: Path) -> None:
        raw = (folder / "checkpoint").read_bytes()
        checkpoint = open_checkpoint(raw, KEYS)
        (folder / "checkpoint").write_bytes(key.sign(checkpoint, AT))

    return sign


def without_line(number: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        lines = (folder / "checkpoint").read_bytes().splitlines(keepends=True)
        del lines[number]
        (folder / "checkpoint").write_bytes(b"".join(lines))

    return cut


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda folder: altered(folder / "tile/entries/001", 710), "do not hash to the root"),
        (lambda folder: altered(folder / "tile/0/001", 700), "is not what the entries give"),
        (lambda folder: altered(folder / "tile/1/000.p/3", 70), "is not what the entries give"),
        (lambda folder: (folder / "tile/0/003.p/232").unlink(), "not exist"),
        (lambda folder: (folder / "tile/entries/002").unlink(), "not exist"),
        (signed_by(LogKey.generate()), "verif"),
        (without_line(-1), "has not signed"),
        (without_line(-2), "has not signed"),
        (without_line(4), "signature"),
    ],
    ids=[
        "entry",
        "leaf hash",
        "tile above",
        "no tile",
        "no bundle",
        "other keys",
        "no witness",
        "no ML-DSA",
        "no Ed25519",
    ],
)
def test_others_find_what_is_wrong_with_a_log(
    outside: OutsidePrograms, tmp_path: Path, wrong: Callable[[Path], None], found: str
) -> None:
    write_log(tmp_path, ORIGIN, KEY, leaves(1_000), AT, [WITNESS])
    wrong(tmp_path)

    with served(tmp_path) as prefix, pytest.raises(FoundWrong, match=found):
        outside.read_log(prefix, KEYS, [WITNESS.note_key()])


@pytest.mark.parametrize("size", [0, 1, 20_852_163, (1 << 63) - 1])
def test_what_others_sign_verifies_here(outside: OutsidePrograms, size: int) -> None:
    root = sha256(str(size).encode()).digest()
    before = datetime.now(UTC).replace(microsecond=0)

    signed = outside.sign(ORIGIN, size, b64encode(root).decode())

    assert open_checkpoint(signed.note, signed.log) == Checkpoint(ORIGIN, size, root)
    note = parse_note(signed.note)
    assert [key.kind for key in signed.witnesses] == [0x06, 0x04]
    for witness in signed.witnesses:
        at = cosigned_at(note, witness)
        assert at is not None
        assert before <= at <= datetime.now(UTC)
    other = outside.sign(ORIGIN, size, b64encode(root).decode())
    with pytest.raises(NotSigned):
        open_checkpoint(other.note, signed.log)
    forged = signed.note.replace(b64encode(root), b64encode(sha256(b"another").digest()))
    with pytest.raises(InvalidSignature):
        open_checkpoint(forged, signed.log)
