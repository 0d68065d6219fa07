"""How our PostgreSQL is configured. Written anew at every start, so that a change here reaches clusters that exist."""

import re
from collections.abc import Mapping
from pathlib import Path

from latticebank.values.errors import InvalidValue

SUPERUSER = "latticebank"
ADDRESS = "127.0.0.1"

# What the launcher itself relies on; given on the command line, which nothing overrides.
FIXED = frozenset(
    {
        "cluster_name",
        "config_file",
        "data_directory",
        "external_pid_file",
        "hba_file",
        "ident_file",
        "listen_addresses",
        "log_destination",
        "logging_collector",
        "port",
        "unix_socket_directories",
    }
)

DEFAULTS: Mapping[str, str] = {
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    # A commit that was answered has reached the disk: this is money.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    # For a laptop that is written to heavily: few, spread checkpoints; memory that any machine can spare.
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",
    # A client that vanished must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "5min",
    "tcp_keepalives_idle": "60",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # The details of an error quote the row, and rows hold personal data.
    "log_error_verbosity": "terse",
}

HBA = f"""\
# Written by Latticebank at every start: a password for everyone, from this machine only.
host  all          all          {ADDRESS}/32  scram-sha-256
host  replication  {SUPERUSER}  {ADDRESS}/32  scram-sha-256
"""

NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


def checked(parameters: Mapping[str, str]) -> dict[str, str]:
    """The caller's parameters; raises `InvalidValue` for one that is malformed or that the launcher itself sets."""
    for name, value in parameters.items():
        if not NAME.fullmatch(name) or "\n" in value or "\0" in value:
            raise InvalidValue("not the name and value of a PostgreSQL parameter", field=name)
        if name in FIXED:
            raise InvalidValue("this parameter is set by the launcher itself", field=name)
    return dict(parameters)


def rendered(parameters: Mapping[str, str]) -> str:
    """The text of postgresql.conf."""
    lines = (f"{name} = '{_quoted(value)}'\n" for name, value in {**DEFAULTS, **parameters}.items())
    return "# Written by Latticebank at every start; changes made here are lost.\n" + "".join(lines)


def command_line(postgres: Path, cluster: Path, home: Path, cluster_name: str, port: int) -> list[str]:
    """The command that starts the server in the foreground; holds no secret."""
    fixed = {
        "config_file": str(home / "postgresql.conf"),
        "hba_file": str(home / "pg_hba.conf"),
        "cluster_name": cluster_name,
        "listen_addresses": ADDRESS,
        "port": str(port),
        "unix_socket_directories": "",
        "logging_collector": "off",
        "log_destination": "stderr",
    }
    options = (word for name, value in fixed.items() for word in ("-c", f"{name}={value}"))
    return [str(postgres), "-D", str(cluster), *options]


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
