"""How far the log is behind what the bank did: watched from outside, in the databases."""

import time
from contextlib import ExitStack

import psycopg

from benchmarks.server import Server
from latticebank.kernel.settings import BUS, SERVICES

_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_AUDIT = "audit"


def seconds_behind(server: Server) -> float:
    """Return after how many seconds from now everything that happened so far is in the published log.

    Raises:
        TimeoutError: it is not within two minutes.

    """
    began = time.perf_counter()
    with ExitStack() as closing:
        ways = {
            name: closing.enter_context(psycopg.connect(server.url(name), autocommit=True)) for name in (*SERVICES, BUS)
        }
        while _behind(ways):
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                raise TimeoutError("the log does not catch up")
            time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - began


def _behind(ways: dict[str, "psycopg.Connection[tuple[object, ...]]"]) -> bool:
    if any(ways[name].execute("SELECT 1 FROM outbox LIMIT 1").fetchone() for name in SERVICES):
        return True
    told = ways[BUS].execute("SELECT topic, next_offset - 1 FROM topics").fetchall()
    heard: dict[object, object] = dict(ways[_AUDIT].execute('SELECT topic, "offset" FROM consumer_offsets'))  # type: ignore[arg-type]
    if any(heard.get(topic) != offset for topic, offset in told):
        return True
    [sizes] = (
        ways[_AUDIT].execute("SELECT (SELECT max(size) FROM logs) = (SELECT max(size) FROM checkpoints)").fetchall()
    )
    return sizes != (True,)
