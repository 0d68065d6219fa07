"""A bank for the pages of a test file, and whoever types a page into a terminal beside it."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.pages import OPEN_THE_BANK_AGAIN, ROOT, blocks
from tests.docs.terminal import Bank, Terminal

REASON_LETTERS = 12


@contextmanager
def place() -> Iterator[Path]:
    """A folder that every user may pass through (unlike those of tmp_path), and that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="latticebank-docs-")).resolve()
    folder.chmod(0o711)  # as root, the server runs as another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    with place() as folder:
        bank = Bank(folder)
        try:
            bank.up("latticebank up", folder)
            yield bank
        finally:
            bank.give_back()


@pytest.fixture
def type_page(bank: Bank, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Give all commands of a page, in a folder of their own, compare what they say, and tell how much that was."""

    def do(page: str, folder: Path) -> None:
        began, openings = time.monotonic(), bank.openings
        found = blocks(page, (ROOT / page).read_text())
        terminal = Terminal(bank, folder)
        steps = [step for block in found if block.not_run is None for step in block.steps()]
        try:
            for step, after in pairwise([*steps, None]):
                assert step is not None
                terminal.do(step, may_fail=after is not None and after.command == "echo $?")
        finally:
            terminal.close()
        assert (bank.openings > openings) == (page in OPEN_THE_BANK_AGAIN)
        left_out = [block for block in found if block.not_run is not None]
        for block in left_out:
            assert len(str(block.not_run)) >= REASON_LETTERS, f"{block.where}: say why it does not run"
        with capsys.disabled():
            told = f"{len(found) - len(left_out)} blocks ran, {len(steps)} commands, {len(left_out)} blocks not run"
            print(f"\n{page}: {told}, {time.monotonic() - began:.0f} s", end=" ")

    with place() as folder:
        yield partial(do, folder=folder)
