"""What the documentation says is true: its commands run against a bank, end as they should, and say what is shown."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.terminal import Bank, Terminal

PAGES = [
    *(f"docs/{page}.md" for page in ("payments", "verify", "security")),
    *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("examples/*/README.md")),
    # These two open the bank again, with a witness.
    *("README.md", "docs/log.md"),
]
REASON_LETTERS = 12


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    bank = Bank(folder)
    bank.up("latticebank up", folder)
    try:
        yield bank
    finally:
        bank.close()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_is_shown(
    page: str, bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    found = blocks(page, (ROOT / page).read_text())
    terminal = Terminal(bank, tmp_path)
    steps = [step for block in found if block.not_run is None for step in block.steps()]
    try:
        for step, after in pairwise([*steps, None]):
            assert step is not None
            terminal.do(step, may_fail=after is not None and after.command == "echo $?")
    finally:
        terminal.close()
    left_out = [block for block in found if block.not_run is not None]
    for block in left_out:
        assert len(str(block.not_run)) >= REASON_LETTERS, f"{block.where}: say why it does not run"
    with capsys.disabled():
        told = f"{len(found) - len(left_out)} blocks ran, {len(steps)} commands, {len(left_out)} blocks not run"
        print(f"\n{page}: {told}, {time.monotonic() - began:.0f} s", end=" ")
