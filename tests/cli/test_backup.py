"""Backing up a bank and bringing it back, as its operator does."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from latticebank.kernel.settings import SERVICES
from latticebank.runtime.postgres import EmbeddedPostgres
from tests.cli.conftest import Folder, RunningBank
from tests.cli.test_people import Street

NewFolder = Callable[[], Folder]
PASSPHRASE = {"LATTICEBANK_KEK_PASSPHRASE": "a rope over the river"}
WITHOUT_A_TOWN = ("up", "--no-demo")
QUICK = {"fsync": "off", "shared_buffers": "16MB"}


def test_a_closed_bank_is_backed_up_and_restored_elsewhere(new_folder: NewFolder) -> None:
    folder = new_folder()
    with EmbeddedPostgres(folder.path / "postgres", parameters=QUICK) as server:
        server.create_database("ledger")
    backups = folder.path.parent / "backups"

    first = folder.json("backup", str(backups))["backup"]["name"]
    broken = backups / "2026-11-19T00-00-00Z"
    broken.mkdir()
    (broken / "backup.json").write_text("{}")
    told = folder.json("backup", str(backups), "--keep", "1")

    assert told["deleted"] == [first]
    assert told["broken"] == [broken.name]
    assert {each.name for each in backups.iterdir() if each.is_dir()} == {broken.name, told["backup"]["name"]}
    data = folder.path.parent / "restored"
    done = folder.run("restore", str(backups), "--data", str(data), "--without-kept")
    assert done.returncode == 0, done.stderr
    assert told["backup"]["name"] in done.stdout
    assert f"Passed over, since their backup.json is damaged: {broken.name}" in done.stderr
    assert "No archive was named" in done.stderr
    assert "log begin-anew" in done.stderr
    with EmbeddedPostgres(data / "postgres", parameters=QUICK) as server:
        assert server.url("ledger")
    again = folder.run("restore", str(backups), "--data", str(data), "--without-kept")
    assert again.returncode == 1
    assert "data-folder-taken" in again.stderr


def test_what_cannot_be_backed_up_or_restored_is_told_without_a_stack_trace(new_folder: NewFolder) -> None:
    folder = new_folder()
    elsewhere = {name: f"postgresql://nobody:secret@127.0.0.1:9/{name}" for name in (*SERVICES, "bus")}
    backups, data = str(folder.path.parent / "backups"), str(folder.path.parent / "restored")
    letter = str(folder.path.parent / "letter.txt")
    Path(letter).write_text("a file")
    backup = folder.path.parent / "hostile" / "2026-11-20T10-15-00Z"
    (backup / "cluster").mkdir(parents=True)
    (backup / "backup.json").write_text("[" * 20_000)
    archive = folder.path.parent / "archive"
    archive.mkdir()
    (archive / "archive.json").write_text('{"made_by":' * 20_000)
    for words, environment, code in (
        (("backup", backups), {}, "no-bank-here"),
        (("backup", backups), {"LATTICEBANK_DATABASE_URLS": json.dumps(elsewhere)}, "not-embedded"),
        (("restore", backups, "--data", data), {}, "kept-apart-missing"),
        (("restore", backups, "--data", data, "--without-kept"), {}, "no-backup"),
        (("restore", backups, "--data", data, "--kept", backups), {}, "no-backup"),
        (("restore", letter, "--data", data, "--without-kept"), {}, "folder-unusable"),
        (("restore", backups, "--data", letter, "--without-kept"), {}, "folder-unusable"),
        (("backup", letter), {}, "folder-unusable"),
        (("backup", f"{letter}/in"), {}, "no-bank-here"),
        (("backup", str(folder.path)), {}, "folders-not-apart"),
        (("backup", str(folder.path / "backups")), {}, "folders-not-apart"),
        (("backup", str(folder.path.parent)), {}, "folders-not-apart"),
        (("restore", backups, "--data", data, "--archive", backups), {}, "foreign-archive"),
        *(
            (("restore", backups, "--data", data, "--to", when), {}, "invalid-value")
            for when in ("yesterday", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+05:00")
        ),
        (("restore", str(backup), "--data", data, "--without-kept"), {}, "backup-broken"),
        (("restore", str(backup.parent), "--data", data, "--without-kept"), {}, "no-backup"),
        (("backup", str(backup)), {}, "folders-not-apart"),
        (("restore", backups, "--data", data, "--archive", str(archive)), {}, "foreign-archive"),
    ):
        done = folder.run(*words, **environment)
        assert done.returncode == 1, done.stdout
        assert f"({code})" in done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr


def standing(folder: Folder) -> tuple[str, str | None]:
    """The origin of the log of a closed bank, and why it stands still if it does."""
    bank = RunningBank(folder, *WITHOUT_A_TOWN)
    try:
        deadline = time.monotonic() + 60
        while True:
            told = json.loads(folder.run("log", "status", "--json").stdout)
            if told["refusal"] is not None or told["published_size"] == told["size"] > 0:
                return told["origin"], told["refusal"]
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
    finally:
        bank.end()


def restored(old: Folder, name: str, *words: str) -> Folder:
    """The folder of the bank that is restored from the backups beside the old one, with its key of keys."""
    folder = Folder(old.path.parent / name)
    folder.environment |= PASSPHRASE
    told = old.json("restore", str(old.path.parent / "backups"), "--data", str(folder.path), *words)
    assert told["kept_apart"] is ("--without-kept" not in words)
    shutil.copy(old.path / "kek.sealed", folder.path)
    return folder


def test_no_restore_takes_back_who_was_erased_and_what_was_published(new_folder: NewFolder, tmp_path: Path) -> None:
    old = new_folder()
    old.environment |= PASSPHRASE
    bank = RunningBank(old, *WITHOUT_A_TOWN)
    eve = Street(old, tmp_path).customer("eve").user
    bank.end()
    kept = ("--kept", str(old.path / "kept"))
    old.json("backup", str(old.path.parent / "backups"))
    assert standing(restored(old, "at-once", *kept)) == ("latticebank.localhost/log", None)

    old.json("keys", "erase-profile", eve, "--yes")
    origin, refusal = standing(old)
    assert refusal is None
    assert old.run("restore", str(old.path.parent / "backups"), "--data", "new").returncode == 1

    later = restored(old, "later", *kept)
    assert "were published" in str(standing(later)[1])
    assert later.json("keys", "list", "--customer", eve)[0]["state"] == "destroyed"

    lost = restored(old, "lost", "--without-kept")
    assert standing(lost)[1] is not None
    assert lost.json("keys", "list", "--customer", eve)[0]["state"] == "active"
    assert lost.run("log", "begin-anew", "--yes").returncode == 0
    assert standing(lost) == (f"{origin}/2", None)
