"""The commands together, and the one place where errors become messages and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong use of the command, 74 what it says cannot be written (EX_IOERR of
sysexits.h, and no verdict of any command), 130 stopped by Ctrl-C or because nobody reads on.
"""

import sys
from contextlib import suppress
from typing import Annotated

import typer

from latticebank import __version__
from latticebank.cli.console import NobodyReads, OutputRefused, alone, err, tell_error, written_out
from latticebank.cli.overview import Overview
from latticebank.values.errors import BankError

INTERRUPTED = 130
NOT_WRITTEN = 74
FIRST_STEPS = """\
First steps:

  latticebank up                         a bank with a demo town, here
  latticebank demo as ada my accounts    in another terminal: what Ada has
  latticebank COMMAND --help             examples for each command

The bank's data are in .latticebank, or where LATTICEBANK_DATA says.
"""

app = typer.Typer(
    name="latticebank",
    cls=Overview,
    help="Latticebank: a quantum-safe bank you can run, check and take apart.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def latticebank(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """Latticebank: a quantum-safe bank you can run, check and take apart."""
    if version:
        typer.echo(f"latticebank {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    try:
        with written_out(), alone():
            app()
    except BankError as error:
        tell_error(error)
    except OutputRefused as refused:
        with suppress(OSError):  # standard error may lie on the same full disk
            err.print(str(refused), markup=False, soft_wrap=True)
        sys.exit(NOT_WRITTEN)
    except (KeyboardInterrupt, BrokenPipeError, NobodyReads):
        sys.exit(INTERRUPTED)
    else:
        return
    sys.exit(1)
