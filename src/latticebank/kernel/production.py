"""What a production bank refuses of the addresses of its databases, as pure rules. No answer repeats a secret."""

from ipaddress import ip_address
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

USUAL_PASSWORDS = frozenset(
    {
        "123456",
        "12345678",
        "admin",
        "bank",
        "changeit",
        "changeme",
        "default",
        "demo",
        "dev",
        "development",
        "example",
        "guest",
        "latticebank",
        "letmein",
        "pass",
        "passw0rd",
        "password",
        "postgres",
        "postgresql",
        "qwerty",
        "root",
        "secret",
        "test",
        "trustno1",
        "user",
    }
)
"""Passwords of examples and developers' machines."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def database_of(url: str) -> tuple[str, str, str] | None:
    """Return host, port and name of the database that a URL leads to; none where it is no complete PostgreSQL URL."""
    given = url_parts(url)
    if given is None or not given.get("dbname"):
        return None
    return str(given.get("host", "")), str(given.get("port", "5432")), str(given["dbname"])


def production_faults(url: str) -> list[str]:
    """Return why a production bank must not use this database URL, which `database_of` accepts; nothing if it may."""
    given = url_parts(url) or {}
    password, user = str(given.get("password") or ""), str(given.get("user") or "")
    faults = []
    if not password:
        faults.append("its URL has no password")
    elif password.lower() == user.lower() or password.lower() in USUAL_PASSWORDS:
        faults.append("its password is one that everybody tries first")
    hosts = str(given.get("hostaddr") or given.get("host") or "").split(",")
    if not all(hosts):
        faults.append("its URL does not name the host")
    elif given.get("sslmode") != "verify-full" and not all(_stays_here(host) for host in hosts):
        faults.append("its connection leaves this machine: the URL must say sslmode=verify-full")
    return faults


def _stays_here(host: str) -> bool:
    return host.startswith(("/", "@")) or is_loopback(host)


def url_parts(url: str) -> dict[str, Any] | None:
    """Return the parameters of a PostgreSQL connection URL by their names in libpq; none where it is no such URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        return None
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return None
    ports = str(given.get("port", "5432")).split(",")
    return dict(given) if all(port == "" or (port.isascii() and port.isdigit()) for port in ports) else None
