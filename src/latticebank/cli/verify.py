"""`latticebank verify`: receipts, checkpoints and downloaded logs, checked offline."""

from pathlib import Path
from typing import Annotated

import typer

from latticebank.verify.command import Wanted, run

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)


def verify(
    paths: Annotated[
        list[Path], typer.Argument(help="A receipt, a checkpoint, or the folder of a log.", metavar="PATH")
    ],
    policy: Annotated[
        Path, typer.Option(help="Whom to trust: keys of logs and witnesses, and a quorum (C2SP tlog-policy).")
    ],
    openings: Annotated[
        Path | None, typer.Option(help="Openings of the entries of the log, to be checked with it.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="The folder of a log that shows checkpoints to be consistent.")
    ] = None,
    proof: Annotated[Path | None, typer.Option(help="A consistency proof for two checkpoints: a hash a line.")] = None,
    as_json: Json = False,
) -> None:
    """Check the bank's word offline, trusting nothing but the keys of the policy.

    Exit codes: 0 sound, 1 something is wrong, 2 wrong use, 3 nothing is wrong and not all could be shown.

    For example:

        latticebank verify paid.json --policy bank.policy
        latticebank verify mirror --policy bank.policy --openings openings.jsonl
        latticebank verify yesterday today --policy bank.policy --log mirror
    """
    raise typer.Exit(run(Wanted(paths, policy, openings, log, proof, as_json)))
