"""Secrets are asked for unseen, and a registration that breaks off in the middle loses no key."""

import json
import os
import pty
import select
import subprocess
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.cli.conftest import COMMAND, Folder, RunningBank

PASSWORD = "a kettle under the bridge"
PASSPHRASE = "correct horse battery"
DETAILS = ("--email", "ada@example.org", "--name", "Ada Lovelace", "--phone", "+4915112345678")


@pytest.fixture(scope="module")
def bank(new_folder: Callable[[], Folder]) -> Iterator[RunningBank]:
    """A bank without a past that stays open."""
    folder = new_folder()
    folder.environment["LATTICEBANK_KEK_PASSPHRASE"] = PASSPHRASE
    opened = RunningBank(folder, "up", "--no-demo")
    yield opened
    opened.end()


def secrets(wallet: Path) -> dict[str, str]:
    return {
        "LATTICEBANK_CLIENT_WALLET": str(wallet),
        "LATTICEBANK_CLIENT_PASSPHRASE": PASSPHRASE,
        "LATTICEBANK_CLIENT_PASSWORD": PASSWORD,
    }


class Line:
    """The way to a bank, on which no answer to a registration comes back; nor do the registrations reach it, if cut."""

    def __init__(self, bank: str, *, cut: bool) -> None:
        self.registered = threading.Event()
        line = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send(urllib.request.Request(bank + self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not cut:
                    headers = {"Content-Type": "application/json"}
                    urllib.request.urlopen(urllib.request.Request(bank + self.path, body, headers)).close()
                line.registered.set()
                self.close_connection = True

            def send(self, request: urllib.request.Request) -> None:
                try:
                    with urllib.request.urlopen(request) as answer:
                        status, body = answer.status, answer.read()
                except HTTPError as error:
                    status, body = error.code, error.read()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def line_to(bank: str, *, cut: bool) -> Iterator[Line]:
    line = Line(bank, cut=cut)
    serving = threading.Thread(target=line.server.serve_forever)
    serving.start()
    try:
        yield line
    finally:
        line.server.shutdown()
        serving.join()
        line.server.server_close()


@pytest.mark.parametrize("cut", [True, False])
def test_a_program_killed_while_it_registers_goes_on_with_the_same_key(
    bank: RunningBank, tmp_path: Path, cut: bool
) -> None:
    folder, wallet = bank.folder, secrets(tmp_path / "wallet")
    details = ("--email", f"ada{cut}@example.org", *DETAILS[2:])
    with line_to(bank.address, cut=cut) as line:
        command = [*COMMAND, "register", *details, "--bank-url", line.address]
        killed = subprocess.Popen(command, env=folder.environment | wallet, stderr=subprocess.DEVNULL)
        assert line.registered.wait(60)
        killed.kill()
        killed.wait()
    (before,) = json.loads(folder.run("whoami", "--all", "--json", **wallet).stdout)
    assert before["confirmed"] is False
    again = folder.run("register", *details, "--json", **wallet)
    if cut:
        assert again.returncode == 0, again.stderr
    else:
        assert (again.returncode, "an earlier attempt succeeded" in again.stderr) == (1, True), again.stderr
    opened = folder.run("login", "--bank-url", bank.address, "--json", **wallet)
    assert opened.returncode == 0, opened.stderr
    (after,) = json.loads(folder.run("whoami", "--all", "--json", **wallet).stdout)
    assert after == before | {"confirmed": True, "address": bank.address}


class Terminal:
    """A command at a terminal of its own, answered as a person would."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.screen, inside = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment, stdin=inside, stdout=inside, stderr=inside, start_new_session=True
        )
        os.close(inside)
        self.shown = ""

    def answer(self, question: str, reply: str) -> None:
        """Wait for a question and type the reply."""
        self._read_until(question)
        deadline = time.monotonic() + 60
        while reply in (PASSPHRASE, PASSWORD) and termios.tcgetattr(self.screen)[3] & termios.ECHO:
            assert time.monotonic() < deadline, "what is typed would be shown"
            time.sleep(0.01)
        os.write(self.screen, f"{reply}\n".encode())
        self.shown = ""

    def end(self) -> tuple[int, str]:
        """How it ended, and what it showed since the last reply."""
        self._read_until(None)
        os.close(self.screen)
        return self.process.wait(30), self.shown

    def _read_until(self, words: str | None) -> None:
        deadline = time.monotonic() + 60
        while words is None or words not in self.shown:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"nothing came: {self.shown}"
            try:
                more = os.read(self.screen, 65_536)
            except OSError:  # the other end is closed
                more = b""
            if not more:
                assert words is None, self.shown
                return
            self.shown += more.decode()


def test_a_person_at_a_terminal_is_asked_and_no_secret_is_shown(bank: RunningBank, tmp_path: Path) -> None:
    environment = bank.folder.environment | {"LATTICEBANK_CLIENT_WALLET": str(tmp_path / "wallet"), "TERM": "dumb"}
    terminal = Terminal(("register", "--phone", "+4915112345678"), environment)
    shown = ""
    for question, reply in (
        ("Your e-mail address", "grace@example.org"),
        ("Your full name", "Grace Hopper"),
        ("Passphrase", PASSPHRASE),
        ("Repeat for confirmation", PASSPHRASE),
        ("Password", PASSWORD),
        ("Repeat for confirmation", PASSWORD),
    ):
        terminal.answer(question, reply)
        shown += terminal.shown
    code, last = terminal.end()
    assert (code, "You are registered" in last) == (0, True), last
    terminal = Terminal(("login",), environment)
    terminal.answer("Passphrase", PASSPHRASE)
    terminal.answer("Password", PASSWORD)
    code, opened = terminal.end()
    assert (code, "You are logged in" in opened) == (0, True), opened
    for secret in (PASSPHRASE, PASSWORD):
        assert secret not in shown + last + opened


def test_where_nobody_can_be_asked_the_way_out_is_told(bank: RunningBank, tmp_path: Path) -> None:
    wallet = {"LATTICEBANK_CLIENT_WALLET": str(tmp_path / "wallet")}
    silent = bank.folder.run("register", *DETAILS, **wallet)
    assert silent.returncode == 1
    assert "LATTICEBANK_CLIENT_PASSPHRASE" in silent.stderr
    assert "--email" in bank.folder.run("register", **wallet).stderr
    assert not (tmp_path / "wallet").exists()
