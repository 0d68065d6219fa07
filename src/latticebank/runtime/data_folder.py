"""The folder that a bank gives to its embedded PostgreSQL: what lies in it, whose it is, where its cluster is.

    latticebank.json   the marker: format, identity, where the cluster is
    lock               who owns the folder now
    password           of the database superuser; readable by the owner of the folder only
    server.log         what the server says; also .1 to .3, older
    postgresql.conf    written at every start
    pg_hba.conf        written at every start
    data/              the cluster (PGDATA), owned by the user that the server runs as

The last three lie in the cluster's home. That is the folder itself, unless we are root and the server's user cannot
enter the folder (it is under a private home): then it is `clusters/<hash of the folder>-<identity>` in the system
folder.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from latticebank.runtime.binaries import make_root_folder
from latticebank.runtime.disk import told_in_our_words, write_durably
from latticebank.runtime.errors import (
    DatabaseMissing,
    ForeignDataFolder,
    NewerDataFolder,
    UnwritableDataFolder,
)
from latticebank.runtime.lock import FILE_NAME as LOCK
from latticebank.runtime.os_user import ROOT, ServerUser, can_enter

EMBEDDED = "postgres"
"""The name of this folder within the data folder of a bank."""
FORMAT = 1
MARKER = "latticebank.json"
BACK_POINTER = "folder.json"
BEFORE_THE_MARKER = frozenset({LOCK, MARKER + ".new"})  # what a start that was killed at once leaves
NOBODYS = frozenset({"lost+found", ".DS_Store"})  # what file systems put into empty folders by themselves


@dataclass(frozen=True)
class Marker:
    """Says that a folder is ours; `home` is set when the cluster lies outside the folder."""

    identity: str
    home: str | None = None
    initialised: bool = False
    format: int = FORMAT


@dataclass(frozen=True)
class DataFolder:
    """A folder that is known to be ours, and locked by us."""

    folder: Path
    marker: Marker

    @property
    def home(self) -> Path:
        """Where the cluster and its configuration lie."""
        return Path(self.marker.home) if self.marker.home else self.folder

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return self.home / "data"

    @property
    def cluster_name(self) -> str:
        """In the title of every server process, so that the processes of this very cluster can be told from others."""
        return f"latticebank-{self.marker.identity}"

    @property
    def password_file(self) -> Path:
        """Holds the superuser's password and nothing else."""
        return self.folder / "password"

    @property
    def log_file(self) -> Path:
        """The newest part of the server's log."""
        return self.folder / "server.log"

    def marked(self, **changes: str | bool | None) -> "DataFolder":
        """The same folder with its marker changed, on the disk too."""
        marker = replace(self.marker, **changes)  # type: ignore[arg-type]
        write_durably(self.folder / MARKER, json.dumps({"made_by": "latticebank", **asdict(marker)}, indent=2) + "\n")
        return replace(self, marker=marker)

    def placed_for(self, user: ServerUser, system_folder: Path, progress: Callable[[str], None]) -> "DataFolder":
        """The same folder with a home that `user` can reach; a cluster that exists is never moved."""
        if self.marker.home and (self.marker.initialised or self.cluster.exists()):
            _refuse_a_copy(self)
            return self
        if can_enter(user, self.folder):
            return self.marked(home=None) if self.marker.home else self
        if self.cluster.exists():
            raise UnwritableDataFolder(
                f"user {user.name}, which PostgreSQL runs as, cannot reach the database in {self.folder}",
                hint=f"open {self.folder} and its parents for passing through (chmod a+x), or move it back",
            )
        home = self._home_outside(user, system_folder, progress)
        return self.marked(home=str(home))

    def _home_outside(self, user: ServerUser, system_folder: Path, progress: Callable[[str], None]) -> Path:
        clusters = system_folder / "clusters"
        home = clusters / f"{_hash_of(self.folder)}-{self.marker.identity}"
        progress(f"{self.folder} is closed to user {user.name}: the database goes to {home}")
        with told_in_our_words(home):
            make_root_folder(system_folder, 0o755)
            make_root_folder(clusters, 0o711)
            make_root_folder(home, 0o711)
            _point_back(home, self)
        if not can_enter(user, home):
            raise UnwritableDataFolder(
                f"user {user.name}, which PostgreSQL runs as, cannot reach {home} either",
                hint=f"open the parents of {system_folder} for passing through (chmod a+x)",
            )
        for older in clusters.glob(f"{_hash_of(self.folder)}-*"):
            if older != home:
                progress(f"An earlier database of this folder is still in {older}")
        return home

    def require_cluster(self) -> bool:
        """Whether there is a cluster; raises `DatabaseMissing` if there was one and it is gone."""
        if self.cluster.is_dir():
            return True
        if self.marker.initialised:
            raise DatabaseMissing(
                f"the database that belongs to {self.folder} is not in {self.cluster}",
                hint=f"restore it from a backup; to begin anew with an empty bank, delete {self.folder}",
            )
        return False

    def erase(self) -> None:
        """Delete the folder, and the cluster's home where that is elsewhere."""
        for folder in {self.home, self.folder}:
            if folder.exists():
                shutil.rmtree(folder)


def require_ours(folder: Path) -> Marker | None:
    """The marker of `folder`, None if the folder is still to be made ours; touches nothing.

    Raises `ForeignDataFolder` or `NewerDataFolder`.
    """
    if folder.exists() and not folder.is_dir():
        raise ForeignDataFolder(f"{folder} is a file, not a folder", hint="choose another data folder")
    try:
        names = set(os.listdir(folder))  # noqa: PTH208 - only names
    except FileNotFoundError:
        return None
    marker = _read_marker(folder)  # after the names: another process may be making the folder its own just now
    foreign = sorted(names - BEFORE_THE_MARKER - NOBODYS)
    if foreign and marker is None:
        raise ForeignDataFolder(
            f"the folder {folder} holds files that are not of Latticebank: {', '.join(foreign[:3])} (none was touched)",
            hint="choose an empty folder or a new name",
        )
    return marker


def make_folder(folder: Path) -> None:
    """Make the folder if need be: private for a normal user; for root passable by the user of the server."""
    if not folder.exists():
        mode = 0o711 if os.geteuid() == ROOT else 0o700
        folder.mkdir(mode, parents=True, exist_ok=True)
        folder.chmod(mode)  # the umask may have taken some away


def new_marker() -> Marker:
    """The marker of a folder that becomes ours."""
    return Marker(identity=secrets.token_hex(8))


def _read_marker(folder: Path) -> Marker | None:
    path = folder / MARKER
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        number = written.pop("format")
        if written.pop("made_by") != "latticebank" or not isinstance(number, int):
            raise ValueError(MARKER)
        if number > FORMAT:
            raise NewerDataFolder(
                f"the data folder {folder} has format {number}; this Latticebank knows formats up to {FORMAT}",
                hint="start it with the newer Latticebank that made it",
            )
        return Marker(**written, format=number)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise ForeignDataFolder(
            f"the file {path} is not a marker of Latticebank; nothing was changed",
            hint="restore it from a backup, or choose another data folder",
        ) from broken


def _hash_of(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def _point_back(home: Path, data_folder: DataFolder) -> None:
    content = {"folder": str(data_folder.folder), "identity": data_folder.marker.identity}
    write_durably(home / BACK_POINTER, json.dumps(content) + "\n")


def _refuse_a_copy(data_folder: DataFolder) -> None:
    """A folder that was moved keeps its cluster; one that was copied must not share it with the original."""
    pointer = data_folder.home / BACK_POINTER
    try:
        original = Path(json.loads(pointer.read_text(encoding="utf-8"))["folder"])
    except FileNotFoundError:
        return  # the home is gone: require_cluster says so
    if original == data_folder.folder:
        return
    marker = _read_marker(original)
    if marker is not None and marker.identity == data_folder.marker.identity:
        raise ForeignDataFolder(
            f"{data_folder.folder} is a copy of {original}: the database in {data_folder.home} belongs to that one",
            hint="use the original, or restore a backup into a new folder",
        )
    _point_back(data_folder.home, data_folder)
