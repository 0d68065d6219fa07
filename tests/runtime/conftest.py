"""Folders, servers and disks for the tests of the embedded PostgreSQL; each is gone after its test."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from latticebank.runtime import processes
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.restore import Restored, Wanted, restore
from tests.clusters import give_identity
from tests.runtime.owners import Owner

QUICK = {"fsync": "off", "shared_buffers": "16MB"}
IS_ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can mount disks and become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may pass through (unlike those of tmp_path), with nothing left running in it."""
    place = Path(tempfile.mkdtemp(prefix="latticebank-")).resolve()
    place.chmod(0o711)
    yield place
    ours = [str(place), *(f": latticebank-{identity}: " for identity in _identities(place))]
    running = [
        process for process in processes.every() if process.alive and any(mark in process.command for mark in ours)
    ]
    processes.send((process.pid for process in running), signal.SIGKILL)
    shutil.rmtree(place)
    assert not running


def _identities(place: Path) -> list[str]:
    """Of the clusters whose processes can be told by their titles."""
    found = []
    for marker in place.rglob("latticebank.json"):
        with suppress(ValueError, TypeError, KeyError):
            found.append(json.loads(marker.read_text())["identity"])
    return found


@pytest.fixture
def new_folder(place: Path) -> Path:
    """A data folder that does not exist yet."""
    return place / "new" / "postgres"


@pytest.fixture(scope="session")
def stopped_bank() -> Iterator[Path]:
    """A data folder that was started once, to copy: a fifth of the work of making a cluster."""
    place = Path(tempfile.mkdtemp(prefix="latticebank-"))
    place.chmod(0o711)
    with EmbeddedPostgres(place / "postgres", parameters=QUICK):
        pass
    (place / "postgres" / "server.log").unlink()
    yield place / "postgres"
    shutil.rmtree(place)


@pytest.fixture
def folder(place: Path, stopped_bank: Path) -> Path:
    """The data folder of a bank that was stopped; its identity is its own."""
    folder = place / "bank" / "postgres"
    folder.parent.mkdir(mode=0o711)
    subprocess.run(["cp", "-a", str(stopped_bank), str(folder)], check=True)
    give_identity(folder)
    return folder


@pytest.fixture
def system_folder(place: Path) -> Path:
    """Takes the place of /var/lib/latticebank."""
    return place / "var"


@pytest.fixture
def steps() -> list[str]:
    """What the servers of this test said of their progress."""
    return []


Server = Callable[..., EmbeddedPostgres]


@pytest.fixture
def server(folder: Path, system_folder: Path, steps: list[str]) -> Iterator[Server]:
    """Makes servers, by default of `folder`, that tell `steps` their progress; they are stopped at the end."""
    made: list[EmbeddedPostgres] = []

    def make(
        where: Path = folder,
        *,
        parameters: dict[str, str] | None = None,
        port: int = 0,
        archive: Path | None = None,
    ) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(
            where,
            port=port,
            parameters={**QUICK, **(parameters or {})},
            progress=steps.append,
            system_folder=system_folder,
            archive=archive,
        )
        made.append(postgres)
        return postgres

    yield make
    for postgres in made:
        postgres.stop()


OwnerMaker = Callable[..., Owner]


@pytest.fixture
def owner(folder: Path, system_folder: Path) -> Iterator[OwnerMaker]:
    """Starts bank processes, by default on `folder`; those that still run are ended."""
    started: list[Owner] = []

    def start(where: Path = folder, **how: object) -> Owner:
        owner = Owner(where, QUICK, system_folder, **how)  # type: ignore[arg-type]
        started.append(owner)
        return owner

    yield start
    for owner in started:
        owner.close()


Disk = Callable[..., Path]


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    """Mounts small file systems in memory."""
    mounted: list[Path] = []

    def mount(*options: str, at: Path | None = None) -> Path:
        point = at or place / f"disk{len(mounted)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=711", *options)), "tmpfs", str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"root may not mount here: {done.stderr.strip()}")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", str(point)], check=True)


def write_a_row(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [word])


def rows(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [str(word) for (word,) in connection.execute("SELECT word FROM kept")]


Restore = Callable[..., Restored]

GIVEN_UP = {"archive": None, "without_kept": True}
"""How to restore where neither the archive nor the old data folder is left."""


@pytest.fixture
def archive(place: Path) -> Path:
    """The folder of an archive that does not exist yet."""
    return place / "archive"


@pytest.fixture
def backups(place: Path) -> Path:
    """The folder of backups that does not exist yet."""
    return place / "backups"


@pytest.fixture
def again(place: Path, backups: Path, archive: Path, system_folder: Path) -> Restore:
    """Restores into a new folder of this name, from the archive unless another is named."""

    def bring_back(name: str = "restored", *, source: Path = backups, **wanted: object) -> Restored:
        choice = Wanted(source, **({"archive": archive} | wanted))  # type: ignore[arg-type]
        return restore(choice, place / name, lambda _: None, parameters=QUICK, system_folder=system_folder)

    return bring_back
