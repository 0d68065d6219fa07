"""Which operating system user PostgreSQL runs as, and what that user can reach.

PostgreSQL refuses to run as root, so root hands it to an unprivileged user; anyone else runs it as themselves.
What the other user can reach is asked of the kernel, in a process of that user: mode bits alone do not tell
(access lists, user namespaces, mount options).
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from latticebank.runtime.errors import NoDatabaseUser

ROOT = 0
CANDIDATES = ("postgres", "nobody")  # in this order; the owner of an existing cluster comes before both
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that change the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class ServerUser:
    """The user that the server runs as; `other` when that is not the user we run as."""

    name: str
    uid: int
    gid: int
    other: bool

    @property
    def identity(self) -> Identity:
        """How to start a process as this user, with no group of ours left to it."""
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": [self.gid]}


def server_user(cluster: Path) -> ServerUser:
    """The owner of the cluster if there is one already, else ourselves, or a user without privileges if we are root."""
    me = os.geteuid()
    if me != ROOT:
        return _named(me, other=False)
    try:
        owner = cluster.stat().st_uid
    except FileNotFoundError:
        owner = ROOT
    user = _named(owner, other=True) if owner != ROOT else _first_candidate()
    if not succeeds(user, ["/bin/sh", "-c", "exit 0"]):
        raise NoDatabaseUser(
            f"this process runs as root but may not start programs as user {user.name} (id {user.uid})",
            hint="run the bank as a normal user",
        )
    return user


def ourselves() -> ServerUser:
    """The user that we run as, for programs that need not be another."""
    return ServerUser(name="", uid=os.geteuid(), gid=os.getegid(), other=False)


def succeeds(user: ServerUser, command: Sequence[str]) -> bool:
    """Whether `command`, run as that user, ends well; False as well if it cannot be run at all."""
    try:
        return run(user, command).returncode == 0
    except OSError:
        return False


def run(
    user: ServerUser,
    command: Sequence[str],
    *,
    said: str = "",
    keep_open: Sequence[int] = (),
    secrets: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` as that user with `said` as its input; in a session of its own, out of reach of Ctrl-C.

    `secrets` are variables of its environment, which only that user can read.
    """
    return subprocess.run(
        command,
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd="/",  # the folder that we are in may be closed to the other user
        env={**ENVIRONMENT, **(secrets or {})},
        umask=0o077,
        start_new_session=True,
        pass_fds=keep_open,
        **user.identity,
    )


def can_enter(user: ServerUser, folder: Path) -> bool:
    """Whether that user can reach `folder` and what lies in it by name."""
    return succeeds(user, ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])


def _first_candidate() -> ServerUser:
    import pwd  # not on Windows, where this module must still be importable

    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != ROOT:
            return ServerUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid, other=True)
    raise NoDatabaseUser(
        f"PostgreSQL refuses to run as root, and there is no user named {' or '.join(CANDIDATES)}",
        hint="run the bank as a normal user, or add a system user named postgres",
    )


def _named(uid: int, *, other: bool) -> ServerUser:
    import pwd  # not on Windows, where this module must still be importable

    try:
        entry = pwd.getpwuid(uid)
    except KeyError as missing:
        # initdb looks its user up and stops without a name.
        raise NoDatabaseUser(
            f"the user id {uid} that PostgreSQL has to run as has no entry in the user database",
            hint="add one (in a container: a line in /etc/passwd)",
        ) from missing
    return ServerUser(name=entry.pw_name, uid=uid, gid=entry.pw_gid, other=other)
