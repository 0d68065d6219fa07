"""What the pages in docs/ say is true: their commands run against a bank, end as they should, and say what is shown."""

from collections.abc import Callable

import pytest

from tests.docs.pages import pages_with_commands

PAGES = [page for page in pages_with_commands() if page.startswith("docs/")]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_is_shown(page: str, type_page: Callable[[str], None]) -> None:
    type_page(page)
