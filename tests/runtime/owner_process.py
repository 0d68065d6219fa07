"""A bank for the tests to kill: a process that owns the database of a folder, says so, and waits to be told more.

It writes one JSON object a line. `fork` on its input makes it fork a child that lives on; the end of its input, or
Ctrl-C, makes it stop the database and end.
"""

import json
import os
import sys
import time
from pathlib import Path

from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.errors import BankError


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    order = json.loads(sys.argv[1])
    postgres = EmbeddedPostgres(
        Path(order["folder"]),
        parameters=order["parameters"],
        system_folder=Path(order["system_folder"]),
        progress=lambda step: say(progress=step),
        archive=Path(order["archive"]) if "archive" in order else None,
    )
    try:
        postgres.start()
    except BankError as refused:
        say(error=refused.code, detail=str(refused))
        return
    try:
        say(pid=postgres.pid, port=postgres.port, url=postgres.url("postgres"), uid=os.geteuid())
        for line in sys.stdin:
            if line == "fork\n":
                child = os.fork()
                if child == 0:
                    time.sleep(300)
                    os._exit(0)
                say(child=child)
    except KeyboardInterrupt:
        say(interrupted=True, alive=postgres.alive)
    postgres.stop()
    say(stopped=True)


if __name__ == "__main__":
    main()
