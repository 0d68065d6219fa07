"""A bank run as people run it: the command in a process of its own."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latticebank.runtime.postgres import EmbeddedPostgres
from tests.clusters import give_identity

COMMAND = [sys.executable, "-m", "latticebank"]
OPEN = re.compile(r"The bank is open at (http://\S+)")


class Folder:
    """A data folder, and the commands that are run on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.banks: list[RunningBank] = []
        self.environment = {**os.environ, "LATTICEBANK_DATA": str(path), "NO_COLOR": "1"}

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Return what a command writes as JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class RunningBank:
    """`latticebank up` (or another command that serves) in a process of its own."""

    def __init__(self, folder: Folder, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*COMMAND, *(arguments or ("up",)), "--port", "0"],
            env=folder.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        folder.banks.append(self)
        self.said = ""
        self.address = self._wait_for(OPEN)

    def _wait_for(self, pattern: "re.Pattern[str]") -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + 90
        while (found := pattern.search(self.said)) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"the bank did not open: {self.said}"
            more = os.read(self.process.stdout.fileno(), 65_536)
            assert more, f"the bank ended: {self.said}"
            self.said += more.decode()
        return found.group(1)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Signal the bank and return how it ended."""
        if self.process.stdout is None or self.process.stdout.closed:
            return self.process.returncode
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest.decode()
        return self.process.returncode


@pytest.fixture(scope="module")
def new_folder() -> Iterator[Callable[[], Folder]]:
    """Makes data folders; whatever belongs to them goes in the end, wherever it lies."""
    made: list[Folder] = []

    def make() -> Folder:
        path = Path(tempfile.mkdtemp(prefix="latticebank-cli-"))
        path.chmod(0o755)  # as root, the server runs as another user
        made.append(Folder(path / "bank"))
        return made[-1]

    yield make
    for folder in made:
        path = folder.path.parent
        for bank in folder.banks:  # those that a failed test left open
            bank.end()
        if (path / "bank" / "postgres").exists():
            EmbeddedPostgres(path / "bank" / "postgres").remove()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def closed_town() -> Iterator[Path]:
    """The data folder of a demo bank that was opened once, to copy."""
    place = Path(tempfile.mkdtemp(prefix="latticebank-town-"))
    place.chmod(0o755)  # as root, the server runs as another user
    assert RunningBank(Folder(place / "bank")).end() == 0
    yield place / "bank"
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def town_folder(new_folder: Callable[[], Folder], closed_town: Path) -> Callable[[], Folder]:
    """Makes data folders in which there is a demo bank already, closed: most of the work of opening one."""

    def make() -> Folder:
        folder = new_folder()
        subprocess.run(["cp", "-a", str(closed_town), str(folder.path)], check=True)
        give_identity(folder.path / "postgres")
        return folder

    return make


@pytest.fixture(scope="module")
def open_bank(town_folder: Callable[[], Folder]) -> Iterator[RunningBank]:
    """A demo bank that stays open."""
    bank = RunningBank(town_folder())
    yield bank
    bank.end()
