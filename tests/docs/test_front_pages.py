"""What README.md and the examples say is true, as tests/docs/test_guides.py has it; apart, so that both run at once."""

from collections.abc import Callable

import pytest

from tests.docs.pages import pages_with_commands

PAGES = [page for page in pages_with_commands() if not page.startswith("docs/")]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_is_shown(page: str, type_page: Callable[[str], None]) -> None:
    type_page(page)
