"""A bank makes its database in a folder of its own, and puts nothing beside somebody else's files."""

from pathlib import Path

import pytest

from latticebank.bank import SERVICES
from latticebank.kernel.settings import Settings
from latticebank.runtime.errors import ForeignDataFolder
from latticebank.runtime.premises import open_premises


def test_a_folder_with_nothing_but_copied_credentials_is_one_of_a_bank_to_come(place: Path) -> None:
    data = place / "bank"
    (data / "services").mkdir(parents=True)
    with (
        pytest.raises(ForeignDataFolder, match="'services' and no bank"),
        open_premises(Settings(data=data), [SERVICES["audit"]], lambda _: None),
    ):
        pass
    assert [each.name for each in data.iterdir()] == ["services"]
    (data / "services" / "audit.token").touch(mode=0o600)
    with open_premises(Settings(data=data), [SERVICES["audit"]], lambda _: None) as premises:
        assert set(premises.database_urls) == {"audit", "bus"}
