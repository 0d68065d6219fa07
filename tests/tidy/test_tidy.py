"""The house rules hold in the tree, and each rule catches what it is there to catch."""

from functools import cache
from pathlib import PurePosixPath

import pytest

from tests.tidy import rules
from tests.tidy.source import Rule, Source, read_tree

LEDGER = "src/latticebank/banking/ledger"

# A rule, where the sample stands, the sample, and the line at fault.
BROKEN: list[tuple[Rule, str, str, int]] = [
    (rules.file_length, "tests/values/test_money.py", "pass\n" * 401, 401),
    (rules.function_length, "benchmarks/posting.py", "async def post() -> None:\n" + "    pass\n" * 60, 1),
    (rules.function_length, f"{LEDGER}/store.py", "class A:\n    def f(self):\n" + "        pass\n" * 60, 2),
    (rules.no_float_near_money, "src/latticebank/values/money.py", "\nfee = 0.5\n", 2),
    (rules.no_float_near_money, "src/latticebank/values/money_words.py", "def f(a: float): ...\n", 1),
    (rules.no_float_near_money, f"{LEDGER}/model/interest.py", "rate = float(text)\n", 1),
    (rules.no_float_near_money, f"{LEDGER}/store.py", "half = amount / 2\n", 1),
    (rules.no_float_near_money, "src/latticebank/banking/takeover/books.py", "amount /= 100\n", 1),
    (rules.sql_only_in_stores, f"{LEDGER}/service.py", "q = '''\n  SELECT 1'''\n", 1),
    (rules.sql_only_in_stores, f"{LEDGER}/api.py", "q = f'DELETE FROM {table}'\n", 1),
    (rules.sql_only_in_stores, "src/latticebank/kernel/worker.py", "from sqlalchemy import text\n", 1),
    (rules.sql_only_in_stores, "src/latticebank/bank.py", "import sqlalchemy\nq = sqlalchemy.text(x)\n", 2),
    (rules.commit_in_one_place, f"{LEDGER}/service.py", "async def f(c):\n    await c.commit()\n", 2),
    (rules.commit_in_one_place, "src/latticebank/security/audit/store.py", "unit.connection.rollback()\n", 1),
    (rules.names_say_what, "src/latticebank/kernel/utils.py", "", 1),
    (rules.names_say_what, "tests/helpers/accounts.py", "", 1),
    (rules.service_rooms, f"{LEDGER}/writer.py", "", 1),
    (rules.service_rooms, "src/latticebank/gateway/limits.py", "", 1),
    (rules.service_rooms, "src/latticebank/banking/loans.py", "", 1),
    (rules.nothing_left_to_do, "web/src/pay.ts", "pay();\n// TODO: sign\n", 2),
    (rules.nothing_left_to_do, f"{LEDGER}/service.py", "# XXX unsure\n", 1),
    (rules.no_registry_named, "requirements/dev.lock", "\n--index-url https://pypi.org/simple\n", 2),
    (rules.no_registry_named, "web/package-lock.json", '"resolved": "https://registry.npmjs.org/vite/-/v.tgz"', 1),
    (rules.no_persons_folder, "src/latticebank/runtime/binaries.py", "home = '/root/.cache'\n", 1),
    (rules.no_persons_folder, "docs/operations.md", "cd /home/ada/latticebank\n", 1),
    (rules.tests_mirror_rooms, "tests/treasury/test_bonds.py", "", 1),
    (rules.tests_mirror_rooms, "tests/banking/treasury/test_bonds.py", "", 1),
    (rules.tests_mirror_rooms, "tests/test_everything.py", "", 1),
]

# What looks like a breach and is none.
SOUND: list[tuple[Rule, str, str]] = [
    (rules.file_length, "src/latticebank/bank.py", "pass\n" * 400),
    (rules.file_length, "requirements/dev.lock", "pip==1\n" * 4000),
    (rules.function_length, "src/latticebank/bank.py", "def f():\n" + "    pass\n" * 59),
    (rules.no_float_near_money, "src/latticebank/kernel/worker.py", "pause: float = 0.5 / 2\n"),
    (rules.no_float_near_money, f"{LEDGER}/model.py", "half = amount // 2\n"),
    (rules.no_float_near_money, f"{LEDGER}/service.py", "await asyncio.sleep(0.05 * attempt)\n"),
    (rules.no_float_near_money, "src/latticebank/banking/takeover/books.py", "path = folder / 'accounts.csv'\n"),
    (rules.sql_only_in_stores, f"{LEDGER}/store/write.py", "q = 'SELECT 1'\n"),
    (rules.sql_only_in_stores, f"{LEDGER}/migrations/versions/0001_books.py", "q = 'CREATE TABLE a ()'\n"),
    (rules.sql_only_in_stores, "src/latticebank/kernel/outbox_relay.py", "q = 'SELECT 1'\n"),
    (rules.sql_only_in_stores, f"{LEDGER}/api.py", "'Select an account'\n'UPDATE'\n"),
    (rules.commit_in_one_place, "src/latticebank/kernel/database.py", "connection.commit()\n"),
    (rules.commit_in_one_place, f"{LEDGER}/store/write.py", "connection.rollback()\n"),
    (rules.names_say_what, "src/latticebank/kernel/telemetry.py", ""),
    (rules.service_rooms, f"{LEDGER}/store/write.py", ""),
    (rules.service_rooms, f"{LEDGER}/__init__.py", ""),
    (rules.service_rooms, "src/latticebank/banking/__init__.py", ""),
    (rules.service_rooms, "src/latticebank/banking/takeover/books.py", ""),
    (rules.nothing_left_to_do, "docs/api.md", "The currency XXX stands for none.\n"),
    (rules.no_registry_named, "docs/install.md", "https://pypi.org/project/latticebank\n"),
    (rules.no_registry_named, "web/package-lock.json", '"funding": "https://opencollective.com/vite"\n'),
    (rules.no_persons_folder, "docs/api.md", "POST /api/work/items, see https://example.org/root/a and ./work/a\n"),
    (rules.tests_mirror_rooms, "tests/banking/ledger/test_posting.py", ""),
    (rules.tests_mirror_rooms, "tests/faults/test_power_cut.py", ""),
]


@cache
def tree() -> list[Source]:
    """The project's files, read once."""
    return read_tree()


def rule_name(value: object) -> str:
    return getattr(value, "__name__", "") if callable(value) else ""


@pytest.mark.parametrize("rule", rules.RULES, ids=rule_name)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    findings = [str(finding) for source in tree() for finding in rule(source)]
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


@pytest.mark.parametrize(
    ("rule", "path", "text", "line"),
    [pytest.param(*case, id=f"{case[0].__name__}-{n}") for n, case in enumerate(BROKEN)],
)
def test_a_breach_is_found_where_it_is(rule: Rule, path: str, text: str, line: int) -> None:
    findings = list(rule(Source(PurePosixPath(path), text)))
    assert [(str(finding.path), finding.line) for finding in findings] == [(path, line)]


@pytest.mark.parametrize(
    ("rule", "path", "text"), [pytest.param(*case, id=f"{case[0].__name__}-{n}") for n, case in enumerate(SOUND)]
)
def test_what_only_looks_like_a_breach_is_let_be(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(PurePosixPath(path), text)))


def test_every_rule_is_run_and_shown_to_bite() -> None:
    assert {case[0] for case in BROKEN} == {case[0] for case in SOUND} == set(rules.RULES)


def test_every_exception_is_still_needed() -> None:
    for room, words in rules.FLOATS_THAT_ARE_NOT_MONEY:
        rooms = [source for source in tree() if source.room and rules.within(source.room, (room,))]
        assert any(words in source.text for source in rooms), (room, words)


def test_the_tree_is_all_read() -> None:
    paths = {str(source.path) for source in tree()}
    assert {
        "src/latticebank/__init__.py",
        "requirements/dev.lock",
        "Makefile",
        ".ci/run",
        "tests/tidy/rules.py",
    } <= paths
    assert not any(path.startswith((".venv", ".git/")) for path in paths)
