"""The folder of a witness: one process, a key of its own that nobody else reads, and no second chance to forget."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from latticebank.crypto.canonical import canonical_json
from latticebank.crypto.errors import MalformedNote, PassphraseWrong, SealBroken
from latticebank.witness.record import (
    KEY_FILE,
    FolderInUse,
    FolderUnusable,
    KeyRefused,
    Record,
    RecordDamaged,
    opened_record,
)

NAME, ORIGIN = "witness.example/w1", "bank.example/log"
PASSPHRASE = "four words of silence"
SECOND = """
import sys
from pathlib import Path
from latticebank.witness.record import opened_record

with opened_record(Path(sys.argv[1])):
    pass
"""


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        made = record.key(NAME, None)
    with opened_record(tmp_path / "w") as record:
        found = record.key(NAME, None)

    assert found.note_key() == made.note_key()
    assert (tmp_path / "w" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["key", "lock"]


def test_a_sealed_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        made = record.key(NAME, PASSPHRASE)
        content = (tmp_path / "w" / KEY_FILE).read_bytes()

        assert record.key(NAME, PASSPHRASE).note_key() == made.note_key()
        assert made.signing.seed.hex().encode() not in content
        assert b"seed" not in content
        with pytest.raises(PassphraseWrong):
            record.key(NAME, "another")
        with pytest.raises(KeyRefused) as refused:
            record.key(NAME, None)
        assert "--passphrase-file" in str(refused.value.hint)
        (tmp_path / "w" / KEY_FILE).write_bytes(content.replace(b'"ciphertext":"', b'"ciphertext":"AAAA'))
        with pytest.raises(SealBroken):
            record.key(NAME, PASSPHRASE)


def test_a_key_that_is_not_sealed_is_not_said_to_be(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        record.key(NAME, None)
        with pytest.raises(KeyRefused):
            record.key(NAME, PASSPHRASE)


def test_a_key_belongs_to_one_name(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        with pytest.raises(MalformedNote):
            record.key("no name", None)
        record.key(NAME, None)
        with pytest.raises(KeyRefused) as refused:
            record.key("witness.example/w2", None)

    assert NAME in str(refused.value)


def test_a_lost_key_is_not_made_anew_beside_its_records(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        record.key(NAME, None)
        record.keep(ORIGIN, b"note")
        (tmp_path / "w" / KEY_FILE).unlink()
        with pytest.raises(KeyRefused):
            record.key(NAME, None)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        record.key(NAME, None)
        for mode in (0o640, 0o604, 0o644, 0o620):
            (tmp_path / "w" / KEY_FILE).chmod(mode)
            with pytest.raises(KeyRefused):
                record.key(NAME, None)


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        record.key(NAME, None)
        path = tmp_path / "w" / KEY_FILE
        members = json.loads(path.read_bytes())
        assert len(b64decode(members["seed"])) == 32
        for wrong in (
            b"",
            b"{}",
            b"[]",
            os.urandom(64),
            canonical_json({**members, "seed": "AAAA"}),
            canonical_json({**members, "seed": "?"}),
            canonical_json({**members, "format": "latticebank-witness-key/2"}),
            canonical_json({"name": NAME, "format": members["format"]}),
        ):
            path.write_bytes(wrong)
            with pytest.raises(KeyRefused):
                record.key(NAME, None)
        path.write_bytes(bytes(100_000))
        with pytest.raises(RecordDamaged):
            record.key(NAME, None)


def test_two_processes_do_not_witness_in_one_folder(tmp_path: Path) -> None:
    attempt = [sys.executable, "-c", SECOND, str(tmp_path / "w")]
    with opened_record(tmp_path / "w"):
        with pytest.raises(FolderInUse), opened_record(tmp_path / "w"):
            pass
        second = subprocess.run(attempt, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode != 0
        assert "FolderInUse" in second.stderr
    assert subprocess.run(attempt, capture_output=True, timeout=60, check=False).returncode == 0


def test_a_folder_that_others_write_to_or_that_is_none_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (tmp_path / "file").touch()
    (tmp_path / "link").mkdir(mode=0o700)
    (tmp_path / "link" / "lock").symlink_to(tmp_path / "file")

    for folder in (shared, tmp_path / "file", tmp_path / "file" / "below", tmp_path / "link"):
        with pytest.raises(FolderUnusable), opened_record(folder):
            pass


def test_the_latest_replaces_the_one_before_and_the_first_fork_stays(tmp_path: Path) -> None:
    with opened_record(tmp_path / "w") as record:
        assert record.latest(ORIGIN) is None
        for note in (b"one", b"two"):
            record.keep(ORIGIN, note)
            record.keep_fork(ORIGIN, note)

        assert record.latest(ORIGIN) == b"two"
        assert [path.read_bytes() for path in (tmp_path / "w").glob("*.fork")] == [b"one"]
        assert Record(tmp_path / "w").latest(ORIGIN) == b"two"
        assert not list((tmp_path / "w").glob("*.draft"))
