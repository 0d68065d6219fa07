"""What the documentation refers to is there: files, headings, and the tests that it names as witnesses of its claims."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, every_page

PAGES = every_page()
LINK = re.compile(r"(?:\]\(|src=\"|srcset=\")(?!https?:)([^)\s#\"]*)(?:#([^)\"]*))?[)\"]")
NAMED_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings as they are written in addresses."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    here = ROOT / page
    for target, anchor in LINK.findall(FENCED.sub("", here.read_text())):
        there = (here.parent / target).resolve() if target else here
        assert there.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page} links to {target}#{anchor}"


def test_every_test_that_a_page_names_is_there() -> None:
    named = [(page, *found) for page in PAGES for found in NAMED_TEST.findall((ROOT / page).read_text())]
    assert len(named) > 80
    for page, path, name in named:
        test = ROOT / "tests" / path.removeprefix("tests/")
        assert test.is_file(), f"{page} names {path}"
        assert f"def {name}(" in test.read_text(), f"{page} names {path}::{name}"
