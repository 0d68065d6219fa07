"""The key of keys: opened by a passphrase or in a demo, and refused in every other case. Nothing takes its place."""

from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from latticebank.kernel.settings import Settings
from latticebank.security.keys.service.kek import DEMO_FILE, SEALED_FILE, KekRefused, install_kek, open_kek, present_kek

PASSPHRASE = SecretStr("seven swans a-swimming")


@pytest.fixture
def bank(tmp_path: Path) -> Settings:
    """A bank with a passphrase."""
    return Settings(data=tmp_path, kek_passphrase=PASSPHRASE)


@pytest.fixture
def demo(tmp_path: Path) -> Settings:
    """A demo bank without a passphrase, in the same folder."""
    return Settings(data=tmp_path, demo=True)


def files_in(folder: Path) -> list[str]:
    """The names of what lies in a folder."""
    return [each.name for each in folder.iterdir()]


def refusal(settings: Settings, wrapped_under: UUID | None = None) -> str:
    """Why the KEK is refused."""
    with pytest.raises(KekRefused) as refused:
        open_kek(settings, wrapped_under)
    return str(refused.value)


def test_the_first_start_makes_the_file_and_every_later_one_opens_it(bank: Settings) -> None:
    made = open_kek(bank, None)
    again = open_kek(bank, made.key_id)
    assert (again.key_id, again.secret) == (made.key_id, made.secret)
    content = (bank.data / SEALED_FILE).read_bytes()
    assert made.secret not in content
    assert (bank.data / SEALED_FILE).stat().st_mode & 0o777 == 0o600
    assert files_in(bank.data) == [SEALED_FILE]


def test_each_bank_has_a_kek_of_its_own(bank: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = open_kek(bank.model_copy(update={"data": tmp_path / "other"}), None)
    here = open_kek(bank, None)
    assert other.secret != here.secret
    assert other.key_id != here.key_id


def test_the_file_may_lie_elsewhere(bank: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mounted" / "kek"
    elsewhere.parent.mkdir()
    named = bank.model_copy(update={"kek_file": elsewhere, "data": tmp_path / "data"})
    made = open_kek(named, None)
    assert elsewhere.is_file()
    assert open_kek(named, made.key_id).secret == made.secret
    assert not (tmp_path / "data" / SEALED_FILE).exists()


def test_a_wrong_passphrase_is_refused_and_changes_nothing(bank: Settings) -> None:
    open_kek(bank, None)
    before = (bank.data / SEALED_FILE).read_bytes()
    told = refusal(bank.model_copy(update={"kek_passphrase": SecretStr("six geese a-laying")}))
    assert "does not open" in told
    assert "geese" not in told
    assert (bank.data / SEALED_FILE).read_bytes() == before


def test_a_sealed_file_without_a_passphrase_is_refused_in_a_demo_too(bank: Settings, demo: Settings) -> None:
    open_kek(bank, None)
    assert "LATTICEBANK_KEK_PASSPHRASE" in refusal(bank.model_copy(update={"kek_passphrase": None}))
    assert "LATTICEBANK_KEK_PASSPHRASE" in refusal(demo)
    assert not (demo.data / DEMO_FILE).exists()


def test_a_bank_that_is_no_demo_does_not_start_without_a_passphrase(tmp_path: Path) -> None:
    told = refusal(Settings(data=tmp_path))
    assert "set LATTICEBANK_KEK_PASSPHRASE" in told
    assert files_in(tmp_path) == []


def test_an_empty_passphrase_seals_nothing(tmp_path: Path) -> None:
    assert "LATTICEBANK_KEK_PASSPHRASE" in refusal(Settings(data=tmp_path, kek_passphrase=SecretStr("")))
    assert files_in(tmp_path) == []


def test_a_demo_has_a_keyless_file_that_says_so_and_only_its_owner_reads(demo: Settings) -> None:
    made = open_kek(demo, None)
    assert open_kek(demo, made.key_id).secret == made.secret
    path = demo.data / DEMO_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"not sealed" in path.read_bytes()
    path.chmod(0o640)
    assert "chmod 600" in refusal(demo, made.key_id)


def test_a_keyless_file_is_refused_where_the_bank_is_no_demo(demo: Settings) -> None:
    made = open_kek(demo, None)
    assert "keyless file of a demo" in refusal(demo.model_copy(update={"demo": False}), made.key_id)


def test_a_passphrase_given_later_does_not_replace_the_keyless_kek(demo: Settings, bank: Settings) -> None:
    made = open_kek(demo, None)
    assert "is missing" in refusal(bank, made.key_id)
    assert not (bank.data / SEALED_FILE).exists()


def test_a_keyless_content_is_not_taken_for_a_sealed_one(demo: Settings, bank: Settings) -> None:
    made = open_kek(demo, None)
    (demo.data / DEMO_FILE).rename(bank.data / SEALED_FILE)
    assert "does not open" in refusal(bank, made.key_id)


@pytest.mark.parametrize("demonstrates", [True, False])
def test_no_new_kek_is_made_over_keys_that_an_older_one_wrapped(
    demo: Settings, bank: Settings, demonstrates: bool
) -> None:
    settings = demo if demonstrates else bank
    made = open_kek(settings, None)
    [name] = files_in(settings.data)
    (settings.data / name).unlink()
    assert "is missing" in refusal(settings, made.key_id)
    assert files_in(settings.data) == []


def test_the_kek_of_another_tree_is_refused(bank: Settings) -> None:
    made = open_kek(bank, None)
    told = refusal(bank, UUID(int=7))
    assert str(made.key_id) in told
    assert str(UUID(int=7)) in told


def test_a_damaged_file_is_refused(bank: Settings, demo: Settings) -> None:
    open_kek(bank, None)
    path = bank.data / SEALED_FILE
    whole = path.read_bytes()
    for broken in (b"", whole[:-5], whole.replace(b"kek/v1", b"kek/v2"), whole + b"\n", b"\xff" * 70_000):
        path.write_bytes(broken)
        assert "kek.sealed" in refusal(bank)
    path.unlink()
    open_kek(demo, None)
    keyless = demo.data / DEMO_FILE
    text = keyless.read_bytes()
    for broken in (b"", text[:-2], text.replace(b"not sealed", b"sealed"), text.replace(b'"1"', b'"01"')):
        keyless.write_bytes(broken)
        assert "kek.demo" in refusal(demo)


def test_a_file_that_others_can_write_is_refused(bank: Settings) -> None:
    open_kek(bank, None)
    (bank.data / SEALED_FILE).chmod(0o666)
    assert "chmod 600" in refusal(bank)


def test_a_folder_that_is_not_there_is_named(bank: Settings, tmp_path: Path) -> None:
    assert "gone" in refusal(bank.model_copy(update={"kek_file": tmp_path / "gone" / "kek"}))


def test_of_two_first_starts_one_makes_the_kek(bank: Settings) -> None:
    made = open_kek(bank, None)
    other = open_kek(bank.model_copy(update={"kek_file": bank.data / "elsewhere"}), None)
    install_kek(bank, other)
    present = present_kek(bank)
    assert present is not None
    assert present.key_id == made.key_id


def test_the_secret_is_never_shown(bank: Settings) -> None:
    kek = open_kek(bank, None)
    assert kek.secret.hex() not in repr(kek)
    assert "swimming" not in repr(bank)
