"""A bank with people in it, made once for each process of the tests; each test works on a copy of its databases."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher
from psycopg import sql

from latticebank.crypto import passwords
from latticebank.runtime.postgres import EmbeddedPostgres
from tests.conftest import Templates
from tests.e2e.townspeople import WITH_TABLES, Staff, Townsperson, open_village

FUNDS = "50000.00"
_NUMBERS = count(1)
CUSTOMERS = ("ada", "ben", "cleo", "dora", "emil")


@dataclass(frozen=True)
class Bank:
    """A bank that is closed: its folder and its databases, its staff, and customers by name, the last without money."""

    folder: Path
    databases: dict[str, str]
    urls: dict[str, str]
    staff: Staff
    people: dict[str, Townsperson]


@pytest.fixture(scope="session")
def prepared(
    postgres: EmbeddedPostgres, templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bank]:
    """The bank that others are copies of."""
    names = {tables: templates.copy(tables) for tables in WITH_TABLES}
    urls = {tables: postgres.url(name) for tables, name in names.items()}
    folder = tmp_path_factory.mktemp("prepared") / "bank"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1))
        staff, people = asyncio.run(_prepare(folder, urls))
    yield Bank(folder, names, urls, staff, people)
    for name in names.values():
        templates.drop(name)


async def _prepare(folder: Path, urls: dict[str, str]) -> tuple[Staff, dict[str, Townsperson]]:
    async with open_village(folder, urls) as (_, village):
        staff = await village.staff()
        people = dict(zip(CUSTOMERS, await village.customers(*CUSTOMERS), strict=True))
        for person in list(people.values())[:-1]:
            await village.fund(person, staff.till, FUNDS)
    return staff, people


@pytest.fixture
def bank(prepared: Bank, postgres: EmbeddedPostgres, templates: Templates, tmp_path: Path) -> Iterator[Bank]:
    """A bank of the test's own, with the people of the prepared one."""
    databases = {tables: f"{name}_{next(_NUMBERS)}" for tables, name in prepared.databases.items()}
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        for tables, name in databases.items():
            parts = map(sql.Identifier, (name, prepared.databases[tables]))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*parts))
    urls = {tables: postgres.url(name) for tables, name in databases.items()}
    folder = tmp_path / "bank"
    shutil.copytree(prepared.folder, folder)
    try:
        yield Bank(folder, databases, urls, prepared.staff, prepared.people)
    finally:
        for name in databases.values():
            templates.drop(name)
