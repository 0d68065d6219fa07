"""Keeps the program running that takes the write-ahead log from the server to the archive (`pg_receivewal`).

Each run of it has a guardian, as the server has, so that it never outlives the bank. What ends is started again, after a
pause that grows; meanwhile no commit is acknowledged, and the log of the bank says why.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from latticebank.runtime.errors import DatabaseFailedToStart
from latticebank.runtime.guarded_server import GuardedServer
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ENVIRONMENT, ourselves

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LOOK_EVERY = 0.25

_log = structlog.get_logger()


class Receiver:
    """Runs `command` over and over until it is stopped, each time after `prepare`; `secrets` go into its environment."""

    def __init__(
        self,
        command: Sequence[str],
        secrets: Mapping[str, str],
        log: Path,
        lock: FolderLock,
        prepare: Callable[[], None],
    ) -> None:
        self._command = list(command)
        self._prepare = prepare
        self._environment = {**ENVIRONMENT, **secrets}
        self._log_file = log
        self._lock = lock
        self._ending = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name="archive", daemon=True)
        self.last_words: tuple[str, ...] = ()
        """What the program said when it last ended by itself."""
        self.pid = 0

    def start(self) -> None:
        """Begin to keep it running."""
        self._thread.start()

    def let_end(self) -> None:
        """Do not start it again: the server is about to stop, and sends it what is left before."""
        self._ending.set()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._ending.set()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep_running(self) -> None:
        pause = FIRST_PAUSE
        while not self._ending.is_set():
            ran = self._run()
            if self._ending.is_set():
                break
            _log.error(
                "the archive takes nothing, and commits wait; trying again",
                seconds=pause,
                reason=" / ".join(self.last_words[-3:]),
            )
            self._ending.wait(pause)
            pause = FIRST_PAUSE if ran else min(2 * pause, LONGEST_PAUSE)

    def _run(self) -> bool:
        """Run the program until it ends or is to end; whether it ran for longer than the longest pause."""
        try:
            self._prepare()
            server = GuardedServer.start(
                self._command, ourselves(), self._log_file, self._lock, environment=self._environment
            )
        except (DatabaseFailedToStart, OSError) as problem:
            self.last_words = (str(problem),)
            return False
        self.pid = server.pid
        looks = 0
        try:
            while not self._stopping.is_set():
                ending = server.ending(LOOK_EVERY)
                if ending is not None:
                    self.last_words = ending.log
                    break
                looks += 1
        finally:
            self.pid = 0
            server.stop()
        return looks * LOOK_EVERY > LONGEST_PAUSE
