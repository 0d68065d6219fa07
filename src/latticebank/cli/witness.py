"""`latticebank witness`: watch over the logs of others, and cosign their checkpoints."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from latticebank.cli.console import err, out
from latticebank.cli.people.asking import PASSPHRASE, secret
from latticebank.crypto.log_policy import LogPolicy, parse_policy
from latticebank.crypto.registry import require_algorithms
from latticebank.kernel.telemetry import configure_logs
from latticebank.runtime.server import listening
from latticebank.values.clock import SystemClock
from latticebank.values.errors import InvalidValue
from latticebank.witness.api import witness_app
from latticebank.witness.cosigning import Witness
from latticebank.witness.record import opened_record

_MAX_CONNECTIONS = 256
_BACKLOG = 128
_DRAIN_SECONDS = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(witness)


def witness(
    policy: Annotated[
        Path, typer.Option(help="The logs to watch over (C2SP tlog-policy): all keys of a log must sign.")
    ],
    folder: Annotated[Path, typer.Option(help="Where the witness keeps its key and its record; never copy it back.")],
    name: Annotated[str, typer.Option(help="The name of the witness, such as witness.example/w1.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8_100,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="A file with the passphrase that seals the key; without, the key is not sealed.")
    ] = None,
) -> None:
    r"""Run a witness of other people's logs (C2SP tlog-witness). Ctrl-C stops it.

    For example:

        latticebank log policy > bank.policy
        latticebank witness --policy bank.policy --folder witness \
            --name witness.example/w1 --port 8020
    """
    configure_logs(level="warning")
    require_algorithms()
    logs = _policy(policy)
    passphrase = None if passphrase_file is None else secret(PASSPHRASE, passphrase_file)
    with opened_record(folder) as record, listening(host, port) as listener:
        key = record.key(name, passphrase)
        app = witness_app(Witness(logs, key, record, SystemClock()))
        listener.listen(_BACKLOG)
        address = f"http://{_bracketed(host)}:{listener.getsockname()[1]}"
        out.print(f"The witness is open at {address}", markup=False)
        out.print(key.note_key().vkey(), markup=False, soft_wrap=True)
        out.print(f"witness {name.rpartition('/')[2]} {key.note_key().vkey()} {address}", markup=False, soft_wrap=True)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        # The server ends in order at either signal, and then raises it again.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    err.print("The witness is closed.")


def _policy(path: Path) -> LogPolicy:
    try:
        policy = parse_policy(path.read_bytes())
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read: {error.strerror}", field="--policy") from error
    if not policy.logs:
        raise InvalidValue(f"{path} names no log", field="--policy", hint="add a line: log <verifier key>")
    return policy


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
