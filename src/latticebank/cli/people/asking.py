"""How a command gets a secret: from a file, from a variable, or from the person at the terminal; never as an argument."""

import os
import sys
from pathlib import Path

import typer

from latticebank.client.private_file import CannotUseFile, read_private
from latticebank.values.errors import BankError, Fault

PASSWORD = "password"  # noqa: S105 - the name of the secret
NEW_PASSWORD = "new password"  # noqa: S105 - the name of the secret
PASSPHRASE = "passphrase"  # noqa: S105 - the name of the secret
_MAX_BYTES = 8_192


class NobodyToAsk(BankError):
    """A command needs to know something, and no terminal is there to ask at."""

    code = "nobody-to-ask"
    title = "This needs an answer, and there is nobody to ask"
    fault = Fault.INVALID


def secret(name: str, file: Path | None, *, again: bool = False) -> str:
    """Return a secret: from the file that was named, else from its variable, else as it is typed, unseen.

    `again` has a new one typed twice.

    Raises:
        NobodyToAsk: there is neither file nor variable, and no terminal.
        OpenToOthers, CannotUseFile: others can read the file, or it cannot be read.

    """
    if file is not None:
        return _from_file(file)
    variable = variable_of(name)
    if variable in os.environ:
        return os.environ[variable]
    if not sys.stdin.isatty():
        option = name.replace(" ", "-")
        raise NobodyToAsk(f"the {name} is not given", field=name, hint=f"name a --{option}-file, or set {variable}")
    return str(typer.prompt(name.capitalize(), hide_input=True, confirmation_prompt=again, err=True))


def variable_of(name: str) -> str:
    """Return the name of the variable of a secret."""
    return f"LATTICEBANK_CLIENT_{name.upper().replace(' ', '_')}"


def answer(given: str | None, question: str, option: str) -> str:
    """Return what was given with an option, or the answer to its question.

    Raises:
        NobodyToAsk: it was not given, and there is no terminal.

    """
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise NobodyToAsk(f"{option} is not given", field=option)
    return str(typer.prompt(question, err=True))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the person says so, or has said `--yes`.

    Raises:
        NobodyToAsk: there is no terminal.
        typer.Abort: the answer is no.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NobodyToAsk(question, hint="say --yes")
    typer.confirm(question, abort=True, err=True)


def _from_file(path: Path) -> str:
    content = read_private(path, _MAX_BYTES)
    if content is None:
        raise CannotUseFile(path, FileNotFoundError(2, "there is no such file"))
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CannotUseFile(path, OSError(0, "it is not text in UTF-8")) from None
    return text.removesuffix("\n").removesuffix("\r")
