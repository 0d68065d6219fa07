"""A witness cosigns what continues the latest checkpoint that it cosigned, remembers it first, and refuses all else."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey, cosigned_at, open_checkpoint
from latticebank.crypto.errors import InvalidSignature, MalformedNote, NotSigned
from latticebank.crypto.merkle import EMPTY_ROOT, leaf_hash
from latticebank.crypto.notes import Note, NoteSignature, parse_note
from latticebank.witness.cosigning import Witness
from latticebank.witness.model import Forked, Inconsistent, MalformedSubmission, NotLatest, UnknownLog
from latticebank.witness.record import FolderUnusable, Record, RecordDamaged, opened_record, origin_hash
from tests.clocks import FixedClock
from tests.witness.logs import AT, Log, lines

NAME = "witness.example/w1"
LOG = Log()
OTHER_HISTORY = Log(written="another ", key=LOG.key)
CLOCK = FixedClock(AT + timedelta(seconds=5))


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with opened_record(tmp_path / "witness") as opened:
        yield opened


@pytest.fixture
def witness(record: Record) -> Witness:
    return witnessing(record)


def witnessing(record: Record, log: Log = LOG) -> Witness:
    return Witness(log.policy, record.key(NAME, None), record, CLOCK)


def key_of(record: Record) -> CosignerKey:
    return record.key(NAME, None)


def test_a_log_that_grows_is_cosigned_at_each_step(witness: Witness, record: Record) -> None:
    key = key_of(record).note_key()
    for old, new in [(0, 1), (1, 1), (1, 2), (2, 64), (64, 65), (65, 65), (65, 100)]:
        line = witness.add_checkpoint(LOG.submission(old, new))

        assert cosigned_at(parse_note(LOG.signed(new) + line.encode()), key) == CLOCK.now()
        kept = witness.checkpoint(origin_hash(LOG.origin))
        assert kept.endswith(line.encode())
        assert open_checkpoint(kept, LOG.key.note_keys(LOG.origin)) == LOG.checkpoint(new)


def test_the_empty_log_is_cosigned_with_the_hash_of_nothing_alone(witness: Witness) -> None:
    witness.add_checkpoint(LOG.submission(0, 0))
    false = LOG.key.sign(Checkpoint(LOG.origin, 0, leaf_hash(b"")), AT)
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(lines(0, []) + false)
    witness.add_checkpoint(LOG.submission(0, 5))

    assert Checkpoint(LOG.origin, 0, EMPTY_ROOT) == LOG.checkpoint(0)


def test_another_tree_of_the_same_size_is_refused_and_kept_as_proof_of_the_fork(
    witness: Witness, record: Record, tmp_path: Path
) -> None:
    witness.add_checkpoint(LOG.submission(0, 50))

    with pytest.raises(Forked):
        witness.add_checkpoint(OTHER_HISTORY.submission(50, 50))
    with pytest.raises(Forked):
        witness.add_checkpoint(lines(50, LOG.proof(25, 50)) + OTHER_HISTORY.signed(50))

    proof = (tmp_path / "witness" / f"{origin_hash(LOG.origin)}.fork").read_bytes()
    assert open_checkpoint(proof, LOG.key.note_keys(LOG.origin)) == OTHER_HISTORY.checkpoint(50)
    latest = open_checkpoint(witness.checkpoint(origin_hash(LOG.origin)), LOG.key.note_keys(LOG.origin))
    assert latest == LOG.checkpoint(50)


def test_a_rewritten_past_is_refused_whatever_is_offered_as_proof(witness: Witness) -> None:
    witness.add_checkpoint(LOG.submission(0, 50))

    for proof in (
        OTHER_HISTORY.proof(50, 80),
        LOG.proof(50, 80),
        [],
        LOG.proof(40, 80),
        OTHER_HISTORY.proof(50, 80)[1:],
    ):
        with pytest.raises(Inconsistent):
            witness.add_checkpoint(lines(50, proof) + OTHER_HISTORY.signed(80))
    for proof in ([], LOG.proof(50, 80)[:-1], [*LOG.proof(50, 80), EMPTY_ROOT], LOG.proof(50, 81)):
        with pytest.raises(Inconsistent):
            witness.add_checkpoint(lines(50, proof) + LOG.signed(80))
    witness.add_checkpoint(LOG.submission(50, 80))


def test_a_proof_for_the_first_checkpoint_is_refused(witness: Witness) -> None:
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(lines(0, [EMPTY_ROOT]) + LOG.signed(10))
    with pytest.raises(UnknownLog):
        witness.checkpoint(origin_hash(LOG.origin))


def test_a_smaller_tree_and_a_stale_old_size_are_told_the_latest(witness: Witness) -> None:
    with pytest.raises(NotLatest) as refused:
        witness.add_checkpoint(LOG.submission(3, 10))
    assert refused.value.size == 0
    witness.add_checkpoint(LOG.submission(0, 50))

    for old, new in [(0, 50), (0, 60), (20, 30), (49, 50), (51, 60), (30, 30)]:
        with pytest.raises(NotLatest) as refused:
            witness.add_checkpoint(LOG.submission(old, new))
        assert refused.value.size == 50
    with pytest.raises(MalformedSubmission):
        witness.add_checkpoint(lines(50, []) + LOG.signed(40))


def test_all_keys_of_the_log_must_have_signed(witness: Witness) -> None:
    note = parse_note(LOG.signed(10))
    for lacking in (note.signatures[:1], note.signatures[1:]):
        with pytest.raises(NotSigned):
            witness.add_checkpoint(lines(0, []) + Note(note.text, lacking).to_bytes())
    with pytest.raises(NotSigned):
        witness.add_checkpoint(Log().submission(0, 10))
    forged = Note(OTHER_HISTORY.checkpoint(10).text(), note.signatures)
    with pytest.raises(InvalidSignature):
        witness.add_checkpoint(lines(0, []) + forged.to_bytes())
    with pytest.raises(UnknownLog):
        witness.checkpoint(origin_hash(LOG.origin))


def test_an_unknown_log_is_unknown_before_its_signatures_are_looked_at(witness: Witness) -> None:
    with pytest.raises(UnknownLog):
        witness.add_checkpoint(Log("bank.example/log/2", key=LOG.key).submission(0, 10))
    for name in ("", "0" * 64, origin_hash("bank.example/log/2"), origin_hash(LOG.origin).upper(), "../key"):
        with pytest.raises(UnknownLog):
            witness.checkpoint(name)


def test_lines_of_others_are_not_passed_on(witness: Witness) -> None:
    stranger = CosignerKey.from_seed("stranger.example", bytes(32)).cosign(LOG.checkpoint(10), AT).encode()
    noise = NoteSignature(LOG.origin, b"\0\0\0\0", b"noise").line().encode()

    witness.add_checkpoint(LOG.submission(0, 10) + stranger + noise)

    kept = parse_note(witness.checkpoint(origin_hash(LOG.origin)))
    assert [each.name for each in kept.signatures] == [LOG.origin, LOG.origin, NAME]


def test_what_was_cosigned_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    with opened_record(folder) as record:
        witnessing(record).add_checkpoint(LOG.submission(0, 50))
    with opened_record(folder) as record:
        again = witnessing(record)
        with pytest.raises(NotLatest):
            again.add_checkpoint(LOG.submission(0, 60))
        with pytest.raises(Forked):
            again.add_checkpoint(OTHER_HISTORY.submission(50, 50))
        again.add_checkpoint(LOG.submission(50, 60))


def test_each_log_is_remembered_apart(record: Record) -> None:
    second = Log("bank.example/log/2")
    both = replace(LOG.policy, logs=LOG.policy.logs + second.policy.logs)
    witness = Witness(both, record.key(NAME, None), record, CLOCK)

    witness.add_checkpoint(LOG.submission(0, 50))
    witness.add_checkpoint(second.submission(0, 7))

    with pytest.raises(NotLatest) as refused:
        witness.add_checkpoint(second.submission(0, 8))
    assert refused.value.size == 7


class SlowRecord(Record):
    """A record on a disk so slow that all who ask at a time are answered before anybody writes."""

    def latest(self, origin: str) -> bytes | None:
        found = super().latest(origin)
        time.sleep(0.005)
        return found


def test_of_many_racing_checkpoints_one_comes_next_and_none_rolls_another_back(record: Record, tmp_path: Path) -> None:
    witness = witnessing(SlowRecord(tmp_path / "witness"))
    witness.add_checkpoint(LOG.submission(0, 10))
    bodies = [LOG.submission(10, size) for size in range(11, 35)]
    given: list[str] = []
    refused: list[int] = []

    def submit(body: bytes) -> None:
        try:
            given.append(witness.add_checkpoint(body))
        except NotLatest as error:
            refused.append(error.size)

    threads = [threading.Thread(target=submit, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(given), len(refused)) == (1, 23)
    kept = witness.checkpoint(origin_hash(LOG.origin))
    assert kept.endswith(given[0].encode())
    assert set(refused) == {open_checkpoint(kept, LOG.key.note_keys(LOG.origin)).size}


def test_nothing_is_cosigned_that_cannot_be_kept(witness: Witness, record: Record, tmp_path: Path) -> None:
    witness.add_checkpoint(LOG.submission(0, 50))
    draft = tmp_path / "witness" / f"{origin_hash(LOG.origin)}.checkpoint.draft"
    draft.mkdir()  # as a full disk does, it keeps the record from being written

    with pytest.raises(FolderUnusable):
        witness.add_checkpoint(LOG.submission(50, 60))
    draft.rmdir()
    with pytest.raises(NotLatest) as refused:
        witness.add_checkpoint(LOG.submission(60, 70))
    assert refused.value.size == 50


# A witness that is killed when its record is written and nothing was answered yet.
KILLED = """
import os, sys
from pathlib import Path
from latticebank.crypto.log_policy import parse_policy
from latticebank.values.clock import SystemClock
from latticebank.witness.cosigning import Witness
from latticebank.witness.record import opened_record

folder, policy, body, moment = Path(sys.argv[1]), *map(Path, sys.argv[2:4]), sys.argv[4]
kill = lambda *_: os.kill(os.getpid(), 9)
with opened_record(folder) as record:
    witness = Witness(parse_policy(policy.read_bytes()), record.key("witness.example/w1", None), record, SystemClock())
    keep = record.keep
    if moment == "before":
        os.fsync = kill
    record.keep = lambda *kept: kill(keep(*kept))
    witness.add_checkpoint(body.read_bytes())
"""


@pytest.mark.parametrize(("moment", "size"), [("before", 50), ("after", 60)])
def test_a_witness_killed_beside_the_writing_has_the_old_or_the_new_record_and_goes_on(
    tmp_path: Path, moment: str, size: int
) -> None:
    folder, policy, body = (tmp_path / name for name in ("witness", "policy", "body"))
    policy.write_text(LOG.policy_text)
    body.write_bytes(LOG.submission(50, 60))
    with opened_record(folder) as record:
        witnessing(record).add_checkpoint(LOG.submission(0, 50))

    killed = subprocess.run([sys.executable, "-c", KILLED, folder, policy, body, moment], timeout=60, check=False)

    assert killed.returncode == -9
    with opened_record(folder) as record:
        witness = witnessing(record)
        with pytest.raises(NotLatest) as refused:
            witness.add_checkpoint(LOG.submission(1, 60))
        assert refused.value.size == size
        line = witness.add_checkpoint(LOG.submission(size, 60))
        assert cosigned_at(parse_note(LOG.signed(60) + line.encode()), key_of(record).note_key())


def damaged_records(kept: bytes) -> list[bytes]:
    other = CosignerKey.from_seed(NAME, bytes(32)).cosign(LOG.checkpoint(50), AT).encode()
    return [
        b"",
        kept[:-1],
        kept.replace(b"\n50\n", b"\n40\n"),
        LOG.signed(50),
        LOG.signed(50) + other,
        os.urandom(100),
        bytes(100_000),
    ]


def test_a_record_that_was_changed_stops_the_witness(record: Record, tmp_path: Path) -> None:
    witness = witnessing(record)
    witness.add_checkpoint(LOG.submission(0, 50))
    path = tmp_path / "witness" / f"{origin_hash(LOG.origin)}.checkpoint"
    kept = path.read_bytes()
    second = Log("bank.example/log/2")
    elsewhere = key_of(record).cosign(second.checkpoint(9), AT).encode()

    for damaged in [*damaged_records(kept), second.signed(9) + elsewhere]:
        path.write_bytes(damaged)
        with pytest.raises(RecordDamaged):
            witness.add_checkpoint(LOG.submission(50, 60))
        with pytest.raises(RecordDamaged):
            witnessing(record)
    path.write_bytes(kept)
    witnessing(record).add_checkpoint(LOG.submission(50, 60))


def test_a_log_that_has_other_keys_now_is_held_to_what_it_said_before(record: Record) -> None:
    witnessing(record).add_checkpoint(LOG.submission(0, 50))
    renewed = Log(key=LogKey.generate())
    witness = witnessing(record, renewed)

    with pytest.raises(NotSigned):
        witness.add_checkpoint(LOG.submission(50, 60))
    witness.add_checkpoint(renewed.submission(50, 60))


HEAD, NOTE = lines(0, []), LOG.signed(10)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"\n\n",
        NOTE,
        b"old 0\n" + NOTE,
        b"old 0",
        b"old 0\n\n",
        b"old 0\n\n\n" + NOTE,
        b"old 0\r\n\r\n" + NOTE,
        b"old\n\n" + NOTE,
        b"old \n\n" + NOTE,
        b"old 00\n\n" + NOTE,
        b"old 01\n\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old +1\n\n" + NOTE,
        b"old  0\n\n" + NOTE,
        b"old 0 \n\n" + NOTE,
        b"old 1_0\n\n" + NOTE,
        "old \u0661\n\n".encode() + NOTE,
        b"old " + b"9" * 5000 + b"\n\n" + NOTE,
        b"old 11\n\n" + NOTE,
        b"OLD 0\n\n" + NOTE,
        b"new 0\n\n" + NOTE,
        b"\xff\n\n" + NOTE,
        b"old 0\nnot base64\n\n" + NOTE,
        b"old 0\nAAAA\n\n" + NOTE,
        b"old 0\n" + b"A" * 42 + b"B=\n\n" + NOTE,
        b"old 0\n" + b"A" * 44 + b"\n\n" + NOTE,
        lines(0, [EMPTY_ROOT] * 64) + NOTE,
        HEAD + NOTE[:-1],
        HEAD + b"text\n",
        HEAD + b"a\n1\n\n",
        HEAD + NOTE.replace(b"\n10\n", b"\n010\n", 1),
        HEAD + NOTE.replace(b"\n10\n", b"\n10\nextension\n", 1),
        HEAD + b"\x00" * 70_000,
    ],
)
def test_what_is_no_submission_is_refused_as_such(witness: Witness, body: bytes) -> None:
    with pytest.raises((MalformedSubmission, MalformedNote)):
        witness.add_checkpoint(body)
    witness.add_checkpoint(LOG.submission(0, 10))
