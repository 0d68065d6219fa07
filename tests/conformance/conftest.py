"""Programs that are not ours, built from Go modules that the machine has or may fetch."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance.outside_programs import OutsidePrograms

MODULE = Path(__file__).parent / "outside"


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> OutsidePrograms:
    """The programs of the Go module; the tests are skipped where there is no Go, or its modules are not to be had."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go here to build programs of others with")
    fetched = subprocess.run(
        ["go", "mod", "download"], cwd=MODULE, capture_output=True, text=True, timeout=300, check=False
    )
    if fetched.returncode != 0:
        pytest.skip(f"the Go modules of others are not to be had: {fetched.stderr.strip()[-300:]}")
    folder = tmp_path_factory.mktemp("outside")
    command = ["go", "build", "-mod=readonly", "-o", f"{folder}/", "./readlog", "./signlog"]
    subprocess.run(command, cwd=MODULE, check=True, timeout=600)
    return OutsidePrograms(folder)
