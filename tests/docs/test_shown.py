"""What a page shows is compared strictly enough that a wrong page fails."""

import pytest

from tests.docs.pages import PageIsWrong, blocks
from tests.docs.shown import Meanings

ID, OTHER = "01a1f8ae-fdc6-7205-afb6-6d48962b7c0d", "01a1f8ae-9231-7251-a761-bea959cb8d9c"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("Paid: 12.34 EUR", "Paid: 12.34 EUR"),
        ("154 entries at 2026-11-20T11:19:40Z", "7 entries at 2030-01-02T03:04:05Z"),
        ("85 MiB are in backups/2026-11-20T13-43-49Z", "86 MiB are in backups/2030-01-02T03-04-05Z"),
        (f"payment {ID} of 1000000101", f"payment {OTHER} of 1000000152"),
        ("root e4151d57...bfba23a2, signed", "root 0011223344, signed"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("...\nz", "z"),
        ("name   who", "name who  \n"),
        ("open at http://localhost:8000", "open at http://localhost:40123"),
        ("witness.example/w1+926e423a+AcmydWe4", "witness.example/w1+0011aabb+Bq8LJRhL/=="),
    ],
)
def test_what_may_differ_differs(shown: str, said: str) -> None:
    assert Meanings().mismatch(tuple(shown.splitlines()), said) is None


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("Paid: 12.34 EUR", "Paid: 12.35 EUR"),
        ("SOUND", "NOT SOUND"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\n...\nz", "a\nb"),
        ("154 entries", "many entries"),
        (f"{ID} {ID}", f"{ID} {OTHER}"),
        ("signed by ML-DSA-44", "signed by ML-DSA-65"),
    ],
)
def test_what_may_not_differ_is_a_fault_of_the_page(shown: str, said: str) -> None:
    assert Meanings().mismatch(tuple(shown.splitlines()), said) is not None


def test_a_later_command_gets_the_id_that_was_really_said() -> None:
    meanings = Meanings()
    assert meanings.mismatch((f"Payment {ID}.",), f"Payment {OTHER}.") is None
    assert meanings.in_command(f"latticebank receipt {ID}") == f"latticebank receipt {OTHER}"
    assert meanings.mismatch((f"Payment {ID}.",), f"Payment {ID}.") is not None


def test_a_block_of_commands_runs_or_says_why_it_does_not() -> None:
    page = "<!-- not run: it takes an hour -->\n\n```sh\nmake run\n```\n\ntext\n\n```console\n$ a \\\n> b\nsaid\n$ c\n```\n"
    first, second = blocks("page", page)
    assert first.not_run == "it takes an hour"
    assert second.not_run is None
    assert [(step.where, step.command, step.shown) for step in second.steps()] == [
        ("page:10", "a \\\nb", ("said",)),
        ("page:13", "c", ()),
    ]


@pytest.mark.parametrize(
    "page", ["```\n$ latticebank up\n```\n", "```text\nlatticebank up\n```\n", "```sh\nfor ever\n"]
)
def test_commands_do_not_hide_from_the_test(page: str) -> None:
    with pytest.raises(PageIsWrong):
        blocks("page", page)
