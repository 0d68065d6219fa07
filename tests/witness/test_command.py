"""`latticebank witness` in a process of its own, as whoever runs a witness runs it."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from latticebank.cli.witness import _policy
from latticebank.crypto.checkpoints import cosigned_at
from latticebank.crypto.errors import MalformedNote
from latticebank.crypto.notes import parse_note, parse_vkey
from latticebank.values.errors import InvalidValue
from latticebank.witness.record import origin_hash
from tests.witness.logs import Log

LOG = Log()
OPEN = re.compile(r"The witness is open at (http://127\.0\.0\.1:\d+)\n")


class Process:
    """A witness that listens, and what it said when it opened."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "latticebank", "witness", "--port", "0", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        opened = OPEN.fullmatch(self._process.stdout.readline())
        if opened is None:
            self.status, self.stderr = self._ended()
            raise AssertionError(self.stderr)
        self.address = opened[1]
        self.vkey = self._process.stdout.readline().strip()

    def add(self, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.address}/add-checkpoint", content=body, timeout=60, trust_env=False)

    def end(self, by: signal.Signals) -> int:
        self._process.send_signal(by)
        self.status, self.stderr = self._ended()
        return self.status

    def _ended(self) -> tuple[int, str]:
        _, stderr = self._process.communicate(timeout=60)
        return self._process.returncode, stderr


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_text(f"# whom we watch\n{LOG.policy_text}")
    return path


@pytest.fixture
def arguments(tmp_path: Path, policy: Path) -> list[str]:
    return ["--policy", str(policy), "--folder", str(tmp_path / "w"), "--name", "witness.example/w1"]


@pytest.fixture
def start(arguments: list[str]) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*more: str) -> Process:
        started.append(Process(*arguments, *more))
        return started[-1]

    yield start
    for process in started:
        process.end(signal.SIGKILL)


def refusal(*arguments: str) -> str:
    command = [sys.executable, "-m", "latticebank", "witness", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_witness_is_killed_and_started_again_and_keeps_its_word(start: Callable[..., Process]) -> None:
    first = start()
    key = parse_vkey(first.vkey)
    line = first.add(LOG.submission(0, 50)).content
    assert cosigned_at(parse_note(LOG.signed(50) + line), key) is not None
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = start()

    assert second.vkey == first.vkey
    latest = httpx.get(f"{second.address}/{origin_hash(LOG.origin)}/checkpoint", timeout=60, trust_env=False)
    assert latest.content.endswith(line)
    assert second.add(LOG.submission(0, 60)).text == "50\n"
    fork = Log(written="another ", key=LOG.key)
    assert second.add(fork.submission(50, 60)).status_code == 422
    assert second.add(fork.submission(50, 50)).status_code == 422
    assert second.add(LOG.submission(50, 60)).status_code == 200
    assert second.end(signal.SIGTERM) == 0
    assert "The witness is closed." in second.stderr
    assert "two histories" in second.stderr
    assert "Traceback" not in second.stderr


def test_ctrl_c_closes_it_and_a_second_one_does_not_open_meanwhile(
    start: Callable[..., Process], arguments: list[str]
) -> None:
    first = start()

    assert "witness-folder-in-use" in refusal(*arguments, "--port", "0")
    assert first.add(LOG.submission(0, 1)).status_code == 200
    assert first.end(signal.SIGINT) == 0


def test_the_key_is_sealed_if_there_is_a_passphrase(
    start: Callable[..., Process], arguments: list[str], tmp_path: Path
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("four words of silence\n")
    passphrase.chmod(0o600)
    first = start("--passphrase-file", str(passphrase))
    first.end(signal.SIGINT)

    assert b"latticebank-passphrase-file" in (tmp_path / "w" / "key").read_bytes()
    assert "--passphrase-file" in refusal(*arguments)
    passphrase.write_text("another\n")
    assert "passphrase-wrong" in refusal(*arguments, "--passphrase-file", str(passphrase))
    passphrase.write_text("four words of silence\n")
    assert start("--passphrase-file", str(passphrase)).vkey == first.vkey


def test_a_policy_that_is_none_or_names_no_log_is_refused(policy: Path) -> None:
    given = policy.read_text()
    for wrong in ("", "quorum none\n", "log nonsense\n", given + "log\n", given + given, "log a+b+c\n"):
        policy.write_text(wrong)
        with pytest.raises((InvalidValue, MalformedNote), match="policy"):
            _policy(policy)
    policy.unlink()
    with pytest.raises(InvalidValue, match="cannot be read"):
        _policy(policy)


def test_a_wrong_folder_or_name_is_said_in_words_and_makes_no_key(arguments: list[str], tmp_path: Path) -> None:
    assert "name of a key" in refusal(*arguments[:-1], "two words")
    assert not (tmp_path / "w" / "key").exists()
    (tmp_path / "file").touch()
    arguments[3] = str(tmp_path / "file")
    assert "witness-folder-unusable" in refusal(*arguments)
