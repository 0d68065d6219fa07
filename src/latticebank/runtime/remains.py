"""What a server that was killed leaves behind, and how it is cleared away before the next start.

Called under the folder's lock, so whatever of this cluster still runs has lost its owner.
"""

import signal
from collections.abc import Callable
from pathlib import Path

from latticebank.runtime import processes
from latticebank.runtime.data_folder import DataFolder
from latticebank.runtime.errors import DataFolderInUse
from latticebank.runtime.processes import Process

WAIT_FOR_FAST_SHUTDOWN = 60.0  # it writes a checkpoint
WAIT_FOR_IMMEDIATE_SHUTDOWN = 10.0  # the postmaster itself kills what has not ended after 5
WAIT_FOR_KILLED = 5.0


def clear_remains(data_folder: DataFolder, progress: Callable[[str], None]) -> None:
    """Stop every process of the cluster that is left, and forget a postmaster.pid that would block the start."""
    left = servers_of(data_folder)
    if left:
        progress(f"Stopping the database server that was left behind (process {left[0].pid})")
        try:
            _stop(data_folder, left)
        except PermissionError as denied:
            raise DataFolderInUse(data_folder.folder, left[0].pid, " of another user") from denied
    _forget_stale_pid(data_folder.cluster)


def servers_of(data_folder: DataFolder) -> list[Process]:
    """The live processes of this very cluster, the postmaster first."""
    title = f"postgres: {data_folder.cluster_name}: "
    found = [
        process
        for process in processes.every()
        if process.alive and (_is_postmaster(process, data_folder) or process.command.startswith(title))
    ]
    return sorted(found, key=lambda process: not _is_postmaster(process, data_folder))


def _is_postmaster(process: Process, data_folder: DataFolder) -> bool:
    return f"postgres -D {data_folder.cluster} -c " in process.command


def _stop(data_folder: DataFolder, left: list[Process]) -> None:
    postmasters = [process for process in left if _is_postmaster(process, data_folder)]
    if postmasters:
        processes.send((process.pid for process in postmasters), signal.SIGINT)
        processes.wait_until_gone(left, WAIT_FOR_FAST_SHUTDOWN)
    # Backends whose postmaster is gone, and a postmaster that hangs.
    for signal_number, patience in (
        (signal.SIGQUIT, WAIT_FOR_IMMEDIATE_SHUTDOWN),
        (signal.SIGKILL, WAIT_FOR_KILLED),
    ):
        left = servers_of(data_folder)
        processes.send((process.pid for process in left), signal_number)
        left = processes.wait_until_gone(left, patience)
    if left:
        raise DataFolderInUse(data_folder.folder, left[0].pid, ", which cannot be stopped")


def _forget_stale_pid(cluster: Path) -> None:
    """PostgreSQL takes any process with the pid of the file for a live server: a zombie, or another program by now.

    Where there is no such process it sees by itself that the file is stale, and checks more; then it is left alone.
    """
    path = cluster / "postmaster.pid"
    try:
        pid = int(path.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if processes.find(abs(pid)) is not None:
        path.unlink(missing_ok=True)
