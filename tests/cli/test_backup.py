"""Backing up a bank and bringing it back, as its operator does."""

import json
from collections.abc import Callable

from latticebank.kernel.settings import SERVICES
from latticebank.runtime.postgres import EmbeddedPostgres
from tests.cli.conftest import Folder

NewFolder = Callable[[], Folder]
QUICK = {"fsync": "off", "shared_buffers": "16MB"}


def test_a_closed_bank_is_backed_up_and_restored_elsewhere(new_folder: NewFolder) -> None:
    folder = new_folder()
    with EmbeddedPostgres(folder.path / "postgres", parameters=QUICK) as server:
        server.create_database("ledger")
    backups = folder.path.parent / "backups"

    first = folder.json("backup", str(backups))["backup"]["name"]
    told = folder.json("backup", str(backups), "--keep", "1")

    assert told["deleted"] == [first]
    assert [each.name for each in backups.iterdir() if each.is_dir()] == [told["backup"]["name"]]
    data = folder.path.parent / "restored"
    done = folder.run("restore", str(backups), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert told["backup"]["name"] in done.stdout
    assert "No archive was named" in done.stderr
    with EmbeddedPostgres(data / "postgres", parameters=QUICK) as server:
        assert server.url("ledger")
    again = folder.run("restore", str(backups), "--data", str(data))
    assert again.returncode == 1
    assert "data-folder-taken" in again.stderr


def test_what_cannot_be_backed_up_or_restored_is_told_without_a_stack_trace(new_folder: NewFolder) -> None:
    folder = new_folder()
    elsewhere = {name: f"postgresql://nobody:secret@127.0.0.1:9/{name}" for name in (*SERVICES, "bus")}
    backups, data = str(folder.path.parent / "backups"), str(folder.path.parent / "restored")
    for words, environment, code in (
        (("backup", backups), {}, "no-bank-here"),
        (("backup", backups), {"LATTICEBANK_DATABASE_URLS": json.dumps(elsewhere)}, "not-embedded"),
        (("restore", backups, "--data", data), {}, "no-backup"),
        (("restore", backups, "--data", data, "--archive", backups), {}, "foreign-archive"),
        (("restore", backups, "--data", data, "--to", "yesterday"), {}, "invalid-value"),
    ):
        done = folder.run(*words, **environment)
        assert done.returncode == 1, done.stdout
        assert f"({code})" in done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr
