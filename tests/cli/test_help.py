"""What the command line says of itself: the overview, the help of each command with its examples, completion."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_group

import latticebank.cli
from latticebank.cli.application import app
from latticebank.cli.overview import COMMANDS, loaded

HERE = Path(sys.executable).parent
ROOMS = Path(latticebank.cli.__file__).parent
ENTRIES = [entry for entries in COMMANDS.values() for entry in entries]
EXAMPLE = re.compile(r"^ +((?:[A-Z_]+=\S+ )?latticebank .*)$", re.MULTILINE)


def said(*arguments: str, **variables: str) -> str:
    """Return what the command writes that people call."""
    environment = {**os.environ, "PATH": f"{HERE}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "100", **variables}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield each command there is, with the words by which it is called."""
    waiting: list[tuple[str, Any]] = [(entry.name, loaded(entry.module, entry.name)) for entry in ENTRIES]
    while waiting:
        words, command = waiting.pop()
        if isinstance(command, TyperGroup):
            waiting += [(f"{words} {name}", each) for name, each in command.commands.items()]
        yield words, command


def test_the_overview_names_every_command_that_a_module_has() -> None:
    found = set()
    for path in sorted(ROOMS.rglob("*.py")):
        if "def register(app: typer.Typer)" not in path.read_text():
            continue
        module = ".".join(path.relative_to(ROOMS).with_suffix("").parts)
        part = typer.Typer(callback=lambda: None)
        import_module(f"latticebank.cli.{module}").register(part)
        found |= {(name, module) for name in get_group(part).commands}
    assert found == {(entry.name, entry.module) for entry in ENTRIES}


def test_the_overview_shows_each_heading_with_its_commands_and_sentences() -> None:
    overview = said("latticebank", "--help")
    for heading, entries in COMMANDS.items():
        _, _, panel = overview.partition(f" {heading} ")
        lines = panel.partition("╰")[0].splitlines()[1:]
        assert [line.strip("│ ").split(maxsplit=1) for line in lines] == [[e.name, e.sentence] for e in entries]


def test_the_overview_and_verify_load_nothing_of_the_bank() -> None:
    code = """
import sys
from latticebank.cli.application import app
try:
    app(sys.argv[1:])
except SystemExit:
    pass
print([name for name in sys.modules if name.split(".")[0] in ("sqlalchemy", "fastapi", "psycopg", "uvicorn")])
"""
    for arguments in (["--help"], ["verify", "--help"], ["--version"]):
        assert said(sys.executable, "-c", code, *arguments).splitlines()[-1] == "[]", arguments


def test_each_command_says_what_it_does_and_what_each_of_its_options_is() -> None:
    by_its_metavar = {"since", "until"}  # --from and --to, written YYYY-MM-DD
    for words, command in every_command():
        assert command.help.strip(), words
        silent = {each.name for each in command.params if not getattr(each, "help", None)}
        assert silent <= by_its_metavar, words


def test_every_example_in_the_help_is_a_command_as_it_stands() -> None:
    examples = [
        example
        for _, command in every_command()
        for example in EXAMPLE.findall(re.sub(r"\\\n\s*", "", command.help.replace("[cyan]", "").replace("[/]", "")))
    ]
    assert len(examples) > 30
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        context = get_group(app).make_context("latticebank", words[words.index("latticebank") + 1 :])
        while isinstance(context.command, TyperGroup):
            name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
            assert command is not None, example
            context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("latticebank ke", ["keys"]),
        ("latticebank keys re", ["release", "restore"]),
        ("latticebank verify --po", ["--policy"]),
        ("latticebank erase", ["erase-profile"]),
    ],
)
def test_bash_completes_commands_and_options(line: str, completed: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    words = line.split()
    script = f"""
eval "$(latticebank --show-completion bash)"
complete -p latticebank > /dev/null || exit 1
COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}
_latticebank_completion latticebank
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    shown = said(bash, "--norc", "-c", script, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert sorted(shown.split()) == completed


def test_the_shell_that_asks_gets_its_script() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    assert "complete -o default -F _latticebank_completion" in said(bash, "-c", "latticebank --show-completion; true")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_and_answers(shell: str) -> None:
    script = said("latticebank", "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_LATTICEBANK_COMPLETE=" in script
    asked = {"_LATTICEBANK_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "latticebank ke"}
    assert "keys" in said("latticebank", **asked, _TYPER_COMPLETE_FISH_ACTION="get-args")


def test_completion_is_installed_where_the_shell_looks_for_it(tmp_path: Path) -> None:
    said(
        "latticebank",
        "--install-completion",
        "bash",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    installed = tmp_path / ".bash_completions" / "latticebank.sh"
    assert "_LATTICEBANK_COMPLETE" in installed.read_text()
    assert str(installed) in (tmp_path / ".bashrc").read_text()
