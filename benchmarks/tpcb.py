"""pgbench's TPC-B: one transfer per transaction by an SQL database's own yardstick, on the same server.

Each transaction updates an account, a teller and a branch and inserts one history row. It keeps no running balance,
no identifier, no event and no hash chain, so it does less than the ledger does for a transfer.
"""

import os
import re
import resource
import subprocess

from psycopg.conninfo import conninfo_to_dict

from benchmarks.accounting import cpu_of_server
from benchmarks.driving import Drive
from benchmarks.server import Server
from latticebank.runtime.binaries import binaries_of_the_wheel

CLIENTS = 8
SCALE = 10
"""Branches; pgbench advises at least as many as clients. A branch has 100,000 accounts."""
_DATABASE = "pgbench"
_LATENCY = re.compile(r"latency average = ([\d.]+) ms")
_RATE = re.compile(r"tps = ([\d.]+)")
_COUNT = re.compile(r"number of transactions actually processed: (\d+)")


def prepare(server: Server, scale: int = SCALE) -> None:
    """Fill pgbench's tables anew."""
    server.postgres.create_database(_DATABASE)
    _pgbench(server, "--initialize", "--quiet", f"--scale={scale}")


def run(server: Server, seconds: int, clients: int = CLIENTS) -> Drive:
    """Run TPC-B with prepared statements, the fastest of pgbench's protocols."""
    cpu, own = cpu_of_server(server.pid), _cpu_of_children()
    said = _pgbench(
        server, "--protocol=prepared", "--no-vacuum", f"--client={clients}", f"--jobs={min(2, clients)}",
        f"--time={seconds}",
    )  # fmt: skip
    count, rate, latency = (float(pattern.findall(said)[0]) for pattern in (_COUNT, _RATE, _LATENCY))
    costs = cpu_of_server(server.pid) - cpu, _cpu_of_children() - own
    return Drive(int(count), 0, count / rate, *costs, [latency / 1e3])


def _pgbench(server: Server, *options: str) -> str:
    program = binaries_of_the_wheel().installation / "bin" / "pgbench"
    environment = {**os.environ, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    # The URL holds the password, so it goes by the environment, never by the command line.
    environment |= _connection(server.url(_DATABASE))
    done = subprocess.run([program, *options], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed:\n{done.stderr}")
    return done.stdout


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _connection(url: str) -> dict[str, str]:
    given = conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    return {variable: str(given[name]) for name, variable in names.items()}
