"""A small process between the bank and its PostgreSQL that outlives the bank by just as long as a clean stop takes.

Run as `python -I -S guardian.py`; imports nothing of ours. It reads one line of JSON (the order) from standard input,
starts the postmaster, and stops it when it is told to, when its standard input ends, or when its parent is gone: so
however the bank ends, the server ends too, and is reaped. If the guardian itself is killed, the kernel tells the
postmaster (Linux: parent-death signal; the guardian has one thread, so that signal means what it says).

To standard output it writes a line of JSON when the server is started, and one when it has ended. It also keeps the
server's log: in files of bounded size, and the last lines in memory, which a full disk cannot take.
"""

import collections
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
import typing

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FAST, IMMEDIATE, KILL = signal.SIGINT, signal.SIGQUIT, signal.SIGKILL
ESCALATION = ((0.0, FAST), (30.0, IMMEDIATE), (45.0, KILL))  # seconds after the wish to stop
LOOK_AT_PARENT_EVERY = 0.25
STRAYS_MAY_LIVE = 3.0
LOG_BYTES = 5 * 1024 * 1024
LOG_FILES = 4
LAST_LINES = 20


class Identity(typing.TypedDict):
    """Whom the server runs as."""

    user: int
    group: int
    extra_groups: list[int]


class Order(typing.NamedTuple):
    """What the owner wants: `owner` is its pid, `log` the path of the server's log."""

    command: list[str]
    environment: dict[str, str]
    identity: Identity | None
    owner: int
    log: str


class Log:
    """The server's log in `LOG_FILES` files of `LOG_BYTES`; a write that fails is dropped, never waited for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.rest = b""
        self.file = -1

    def write(self, chunk: bytes) -> None:
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.rest = self.rest[-10_000:]
        self.last.extend(line.decode(errors="replace")[:500] for line in lines if line.strip())
        try:
            if self.file < 0:
                self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.write(self.file, chunk)
            if os.fstat(self.file).st_size > LOG_BYTES:
                self.rotate()
        except OSError:
            return

    def rotate(self) -> None:
        os.close(self.file)
        self.file = -1
        for number in range(LOG_FILES - 1, 0, -1):
            older, newer = f"{self.path}.{number}", f"{self.path}.{number - 1}" if number > 1 else self.path
            if os.path.exists(newer):  # noqa: PTH110 - pathlib would double the time this script takes to start
                os.replace(newer, older)  # noqa: PTH105


class Guardian:
    """Watches one server."""

    def __init__(self, order: "Order") -> None:
        self.owner = order.owner
        self.log = Log(order.log)
        self.libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self.woken, waker = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the thread that started us may have blocked some
        # Handlers rather than SIG_IGN, which the server would inherit. We end with our parent, not by a signal.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        if self.libc:
            # Backends of a postmaster that was killed become our children, so that we can end and reap them.
            self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.stopping_since: float | None = None
        self.steps = list(ESCALATION)
        self.server = self.start(order)

    def start(self, order: "Order") -> "subprocess.Popen[bytes]":
        """Start the postmaster in a session of its own, as its own user, tied to our life."""
        guardian, identity, libc = os.getpid(), order.identity, self.libc

        def become_server() -> None:
            if identity is not None:
                os.setgroups(identity["extra_groups"])
                os.setgid(identity["group"])
                os.setuid(identity["user"])
            if libc:  # only now: a change of user clears the signal
                libc.prctl(PR_SET_PDEATHSIG, FAST, 0, 0, 0)
                if os.getppid() != guardian:  # it died before the signal was set
                    os._exit(1)

        return subprocess.Popen(
            order.command,
            env=order.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            preexec_fn=become_server,  # noqa: PLW1509 - safe: there is one thread
        )

    def watch(self) -> int:
        """Return the server's exit status when it has ended and all it wrote is in the log."""
        assert self.server.stdout is not None
        output = self.server.stdout.fileno()
        sources = {0, output, self.woken}
        drained_by = 0.0
        while True:
            ended = self.server.poll() is not None
            if ended and not drained_by:
                drained_by = time.monotonic() + 0.5  # strays may hold the pipe open
            if ended and (output not in sources or time.monotonic() > drained_by):
                return self.server.returncode
            quick = ended or output not in sources
            ready, _, _ = select.select(list(sources), [], [], 0.01 if quick else LOOK_AT_PARENT_EVERY)
            if output in ready:
                chunk = os.read(output, 65536)
                self.log.write(chunk)
                if not chunk:
                    sources.discard(output)
            if self.woken in ready:
                os.read(self.woken, 4096)
            if 0 in ready:  # the order to stop, or the end of the pipe
                sources.discard(0)
                self.stop()
            if os.getppid() != self.owner:
                self.stop()
            self.escalate()
            self.reap_adopted()

    def stop(self) -> None:
        """Begin to stop the server."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()

    def escalate(self) -> None:
        """Signal the server harder the longer it takes."""
        while self.steps and self.stopping_since is not None:
            after, number = self.steps[0]
            if time.monotonic() - self.stopping_since < after:
                return
            self.steps.pop(0)
            self.server.send_signal(number)

    def reap_adopted(self) -> None:
        """Reap children that are not the server itself, whose end `Popen` has to see."""
        for pid in children():
            if pid != self.server.pid:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def end_strays(self) -> None:
        """End the backends that a killed postmaster left to us: they hold its shared memory."""
        began = time.monotonic()
        while (strays := children()) and time.monotonic() < began + 2 * STRAYS_MAY_LIVE:
            for pid in strays:
                os.kill(pid, IMMEDIATE if time.monotonic() < began + STRAYS_MAY_LIVE else KILL)
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)


def children() -> list[int]:
    """Our children; none where the system does not tell (there the next start looks for strays)."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def report(**what: object) -> None:
    """Tell the owner; one that is gone does not listen."""
    try:
        os.write(1, json.dumps(what).encode() + b"\n")
    except OSError:
        return


def read_order() -> Order:
    """One line, read byte for byte where need be so that nothing after it is swallowed."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit(0)  # the owner died before it could say what it wanted
        line += chunk
    return Order(**json.loads(line))


def main() -> None:
    """Serve one order."""
    order = read_order()
    try:
        guardian = Guardian(order)
    except (OSError, subprocess.SubprocessError) as problem:
        report(ended=-1, log=[f"{problem}"])
        return
    report(server=guardian.server.pid)
    status = guardian.watch()
    guardian.end_strays()
    report(ended=status, log=list(guardian.log.last))


if __name__ == "__main__":
    main()
