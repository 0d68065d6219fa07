"""A terminal in which the commands of a page are given, and the terminals beside it in which something serves."""

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.docs.pages import ROOT, PageIsWrong, Step
from tests.docs.shown import Meanings
from tests.ports import kept_port

SECONDS = 120
"""How long a command may take, on a machine that has other work."""
PAUSE = 0.05
"""Seconds between two looks at what a server says."""
_SERVES = re.compile(r"(?:[A-Z_]+=\S+ )*latticebank (up|serve|witness)\b(?!.*--help)")
_OF_THE_PAGE = re.compile(r"(localhost:|127\.0\.0\.1:|--port )(\d+)")
_END = "the end of the command:"


class Server:
    """A command that serves until it is told to end, in a process group of its own."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - not a pipe: nobody reads it while it serves
        self._process = subprocess.Popen(
            ["/usr/bin/env", "bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until(self, fits: Callable[[str], bool]) -> None:
        """Wait until what it said fits."""
        deadline = time.monotonic() + SECONDS
        while not fits(said := self._said()):
            assert self._process.poll() is None, f"it ended, and did not say what is shown: {said}"
            assert time.monotonic() < deadline, f"it did not say what is shown: {said}"
            time.sleep(PAUSE)

    def end(self) -> None:
        """Have it end as by Ctrl-C."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(timeout=SECONDS)
        self._out.close()

    def _said(self) -> str:
        return os.pread(self._out.fileno(), os.fstat(self._out.fileno()).st_size, 0).decode()


class Bank:
    """The bank of many pages: `latticebank up`, again and again on one data folder and one port."""

    def __init__(self, folder: Path) -> None:
        self._kept = ExitStack()
        self.port = self._kept.enter_context(kept_port())
        self.data = folder / "bank"
        self.openings = 0
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LATTICEBANK_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LATTICEBANK_DATA": str(self.data),
            "NO_COLOR": "1",
        }
        self._server: Server | None = None

    def up(self, command: str, folder: Path) -> None:
        """Open the bank by a command; one that is open is closed first."""
        self.close()
        self.openings += 1
        self._server = Server(f"{command} --port {self.port}", folder, self.environment)
        self._server.wait_until(lambda said: "Ctrl-C closes the bank." in said)

    def close(self) -> None:
        """Close it; it can be opened again at the same port."""
        if self._server is not None:
            self._server.end()

    def give_back(self) -> None:
        """Close it for good."""
        self.close()
        self._kept.close()


class Terminal:
    """A shell in a folder that looks to the commands like the project's own."""

    def __init__(self, bank: Bank, folder: Path) -> None:
        self._bank, self._folder = bank, folder
        self._kept = ExitStack()
        self._ports = {"8000": str(bank.port)}
        self._meanings = Meanings()
        self._servers: list[Server] = []
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "examples").symlink_to(ROOT / "examples")
        (folder / ".latticebank").symlink_to(bank.data)
        typed = {"PASSWORD": "a password of mine 4711", "PASSPHRASE": "a passphrase of mine 4711"}
        answers = {f"LATTICEBANK_CLIENT_{name}": value for name, value in typed.items()}
        self._shell = subprocess.Popen(
            ["/usr/bin/env", "bash", "--norc", "--noprofile", "-o", "pipefail"],
            cwd=folder,
            env={**bank.environment, "HOME": str(folder), **answers},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def do(self, step: Step, *, may_fail: bool) -> None:
        """Give a command and compare what it says with what is shown.

        Raises:
            PageIsWrong: it says something else, or fails although it `may_fail` not.

        """
        command = self._meanings.in_command(_OF_THE_PAGE.sub(self._with_free_port, step.command))
        serves = _SERVES.match(command)
        if serves is not None:
            self._serve(step, command, serves[1])
            return
        said, code = self._give(command)
        if code != 0 and not may_fail:
            raise PageIsWrong(f"{step.where}: it ends with {code}: {command}\n{said}")
        if step.command == "echo $?":
            shown = " ".join(step.shown or ()).strip()
            wrong = None if said.strip() == shown else f"shown: {shown}, said: {said}"
        else:
            wrong = None if step.shown is None else self._meanings.mismatch(step.shown, said)
        if wrong is not None:
            raise PageIsWrong(f"{step.where}: {command}\n {wrong}\nAll of it:\n{said}")

    def close(self) -> None:
        """End the shell and what serves beside it."""
        for server in reversed(self._servers):
            server.end()
        self._kept.close()
        self._shell.communicate(b"exit\n", timeout=SECONDS)

    def _give(self, command: str) -> tuple[str, int]:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        asked = f"{{ {command}\n}} < /dev/null; ended=$?; echo {shlex.quote(_END)} $ended; (exit $ended)\n"
        self._shell.stdin.write(asked.encode())
        self._shell.stdin.flush()
        said = b""
        deadline = time.monotonic() + SECONDS
        while (end := re.search(rb"%s (\d+)\n$" % _END.encode(), said)) is None:
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._shell.stdout.fileno(), 65_536) if ready else b""
            assert more, f"it does not end: {command}\n{said.decode()}"
            said += more
        return said[: end.start()].decode(), int(end[1])

    def _serve(self, step: Step, command: str, what: str) -> None:
        environment = self._exported()
        if what == "up" and environment["LATTICEBANK_DATA"] == str(self._bank.data):
            self._bank.up(command, self._folder)
            return
        server = Server(command, self._folder, environment)
        self._servers.append(server)
        server.wait_until(lambda said: step.shown is None or self._meanings.mismatch(step.shown, said) is None)

    def _exported(self) -> dict[str, str]:
        """Return what the page has exported: a terminal beside this one begins with the same."""
        said, _ = self._give("env -0")
        return dict(variable.split("=", 1) for variable in said.split("\0") if variable)

    def _with_free_port(self, found: "re.Match[str]") -> str:
        if found[2] not in self._ports:
            self._ports[found[2]] = str(self._kept.enter_context(kept_port()))
        return found[1] + self._ports[found[2]]
