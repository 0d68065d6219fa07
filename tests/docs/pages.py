"""The pages of the documentation as programs: their blocks of commands, and what each command is shown to say.

    ```console          $ commands, each followed by what it says
    ```sh               commands alone; the block as a whole ends with 0
    ```python           a program

Before a fence `<!-- not run: a reason -->` says that the block cannot run here, and why.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = ("console", "sh", "python")
OPEN_THE_BANK_AGAIN = ("README.md", "docs/log.md")
"""The pages that close the bank and open it with a witness, who is gone after the page: so they come last."""
_FENCE = re.compile(r"```(\S*)(.*)")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")


class PageIsWrong(AssertionError):
    """A page is not written as its test can read it, or not true; the message begins with where."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the lines that it is shown to write; None where nothing is said of them."""

    where: str
    command: str
    shown: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of commands."""

    where: str
    language: str
    lines: tuple[str, ...]
    not_run: str | None
    """Why it does not run, where it does not."""

    def steps(self) -> list[Step]:
        """Return the commands of the block, in their order."""
        if self.language == "console":
            return list(self._shown_steps())
        if self.language == "python":
            program = "\n".join(self.lines)
            return [Step(self.where, f"python - <<'end of the program'\n{program}\nend of the program", None)]
        return [Step(self.where, "\n".join(self.lines), None)]

    def _shown_steps(self) -> Iterator[Step]:
        page, _, first = self.where.rpartition(":")
        command: list[str] = []
        shown: list[str] = []
        number = 0
        for place, line in enumerate(self.lines, start=int(first) + 1):
            if line.startswith("$ "):
                if command:
                    yield Step(f"{page}:{number}", "\n".join(command), tuple(shown))
                command, shown, number = [line[2:]], [], place
            elif not command:
                raise PageIsWrong(f"{page}:{place}: a console block begins with a command, after `$ `")
            elif line.startswith("> ") and not shown:
                command.append(line[2:])
            else:
                shown.append(line)
        yield Step(f"{page}:{number}", "\n".join(command), tuple(shown))


def every_page() -> list[str]:
    """Return the pages of the repository, in the order of their names."""
    folders = (folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    found = (*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md")))
    return sorted(str(page.relative_to(ROOT)) for page in found)


def pages_with_commands() -> list[str]:
    """Return the pages that hold a block of commands, those last that open the bank again.

    Raises:
        PageIsWrong: a block shows a command and does not say so.

    """
    found = [page for page in every_page() if blocks(page, (ROOT / page).read_text())]
    return sorted(found, key=lambda page: page in OPEN_THE_BANK_AGAIN)


def blocks(page: str, text: str) -> list[Block]:
    """Return the blocks of a page that hold commands.

    Raises:
        PageIsWrong: a block shows a command and does not say so.

    """
    found: list[Block] = []
    lines = text.splitlines()
    reason: str | None = None
    place = 0
    while place < len(lines):
        fence = _FENCE.fullmatch(lines[place].strip())
        if fence is None:
            if lines[place].strip():
                said = _NOT_RUN.fullmatch(lines[place].strip())
                reason = said[1] if said else None
            place += 1
            continue
        end = next((n for n in range(place + 1, len(lines)) if lines[n].strip() == "```"), None)
        where = f"{page}:{place + 1}"
        if end is None:
            raise PageIsWrong(f"{where}: the block never ends")
        content = tuple(lines[place + 1 : end])
        if fence[1] in RUNS:
            found.append(Block(where, fence[1], content, reason))
        elif any(line.startswith(("$ ", "latticebank ")) for line in content):
            raise PageIsWrong(f"{where}: it shows commands: begin it with ```console or ```sh")
        reason, place = None, end + 1
    return found
