"""The tree as the house rules see it: files as text, Python as syntax trees, findings that say what to do."""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PYTHON_FOLDERS = ("src", "tests", "benchmarks")
MAX_TEXT_BYTES = 4_000_000

# Not the project's own text: what tools and runs leave behind, and what a person keeps in a hidden folder.
_NOT_OURS = {"__pycache__", "node_modules", "build", "dist"}
_HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore", ".npmrc", ".dockerignore"}


@dataclass(frozen=True)
class Source:
    """A file: its path from the root of the project, and its text."""

    path: PurePosixPath
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree. Only Python files have one."""
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def is_python(self) -> bool:
        return self.path.suffix == ".py" and self.path.parts[0] in PYTHON_FOLDERS

    @property
    def room(self) -> PurePosixPath | None:
        """The path below `src/latticebank`, without suffix; None for what is not in it."""
        inside = self.path.is_relative_to("src/latticebank") and self.path.suffix == ".py"
        return self.path.relative_to("src/latticebank").with_suffix("") if inside else None


@dataclass(frozen=True)
class Finding:
    """Where a rule is broken, and what to do about it."""

    path: PurePosixPath
    line: int
    rule: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.advice}"


Rule = Callable[[Source], Iterator[Finding]]


def read_tree(root: Path = ROOT) -> list[Source]:
    """Every text file of the project."""
    return [Source(PurePosixPath(path.relative_to(root)), text) for path, text in _texts(_files(root))]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in _NOT_OURS or path.is_symlink() or (name.startswith(".") and name not in _HIDDEN_BUT_OURS):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.stat().st_size <= MAX_TEXT_BYTES:
            yield path


def _texts(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8", errors="replace")
