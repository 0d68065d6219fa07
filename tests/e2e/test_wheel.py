"""What is installed from a wheel is the whole bank: built with the locked tools, run where only its dependencies are."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from latticebank import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "latticebank"
BUILD = "import sys; from flit_core.buildapi import build_wheel; print(build_wheel(sys.argv[1]))"


def ran(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end, away from this source tree, and return what it writes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LATTICEBANK"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return folder / ran(sys.executable, "-c", BUILD, folder, cwd=ROOT).split()[-1]


def test_a_wheel_holds_every_file_of_the_package_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {
        f"latticebank/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    kinds = {Path(file).suffix for file in files}
    assert {".py", ".cedar", ".html"} <= kinds
    assert any("/migrations/versions/" in file for file in files)
    assert files <= names
    assert f"latticebank-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name for name in names - files if ".dist-info/" not in name} == set()


def test_the_command_of_an_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    ran(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    ran(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "-q", wheel, cwd=tmp_path
    )
    where = Path(ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # The dependencies are those that are installed here; the package itself is the one from the wheel.
    (where / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert ran(python, "-c", "import latticebank; print(latticebank.__file__)", cwd=tmp_path).startswith(str(where))
    command = tmp_path / "venv" / "bin" / "latticebank"
    assert ran(command, "--version", cwd=tmp_path) == f"latticebank {__version__}\n"
    assert "offline" in ran(command, "verify", "--help", cwd=tmp_path)
    assert "each with a policy" in ran(command, "routes", "--check", cwd=tmp_path)
