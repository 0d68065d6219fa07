"""Commands for the ledger, made before the clock starts: accounts to open, and transfers of several kinds."""

import random
from array import array
from collections.abc import Callable, Sequence
from enum import StrEnum
from uuid import UUID

import psycopg

from latticebank.banking.ledger.model.accounts import AccountKind, OpenAccount
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import DONE, EvidenceClass, Post, Purpose, Rejection, Transfer
from latticebank.banking.ledger.service.writer import MAX_BATCH, ShardWriter
from latticebank.values.ids import derived_id

CURRENCY = "EUR"
OVERDRAFT = 10**12
"""Every account may go so far below zero that no ordinary transfer is ever refused."""
_LARGEST_AMOUNT = 10_000
_BEYOND = 10**15
"""More than anybody has."""
_EVIDENCE = bytes(range(32))
_REFUSED_OF_A_HUNDRED = 1


class Workload(StrEnum):
    """Which accounts a transfer goes between, and whether some have to be refused."""

    RANDOM = "random accounts"
    HOT_CREDIT = "one hot creditor"
    HOT_DEBIT = "one hot debtor"
    REJECTED = "1 % rejected"


def transfers(
    workload: Workload, accounts: Sequence[int], count: int, chance: random.Random, ids: Callable[[], UUID]
) -> list[Chain]:
    """Return `count` transfers as chains of one."""
    hot = accounts[0]
    others = len(accounts) - 1
    chains: list[Chain] = []
    for place in range(count):
        first = int(chance.random() * others) + 1
        second = int(chance.random() * others) + 1
        debit, credit = accounts[first], accounts[second if second != first else first - 1]
        if workload is Workload.HOT_CREDIT:
            credit = hot
        elif workload is Workload.HOT_DEBIT:
            debit = hot
        beyond = workload is Workload.REJECTED and place % 100 < _REFUSED_OF_A_HUNDRED
        amount = _BEYOND if beyond else 1 + int(chance.random() * _LARGEST_AMOUNT)
        if debit == credit:
            debit = accounts[-1] if credit != accounts[-1] else accounts[1]
        chains.append((_post(ids().bytes, debit, credit, amount),))
    return chains


async def open_accounts(writer: ShardWriter, url: str, shard: int, count: int) -> "array[int]":
    """Have at least `count` accounts in a shard, and return their numbers; those that are there are kept."""
    have = account_numbers(url, shard)
    for start in range(len(have), count, MAX_BATCH):
        batch: list[Chain] = [(opening(shard, serial),) for serial in range(start, min(start + MAX_BATCH, count))]
        await writer.submit(batch)
    return account_numbers(url, shard)[:count]


def opening(shard: int, serial: int) -> OpenAccount:
    """Return the command that opens the account of this serial, the same each time."""
    identifier = derived_id("benchmark", str(shard), str(serial)).bytes
    return OpenAccount(identifier, AccountKind.CHECKING, CURRENCY, OVERDRAFT, None, (), "benchmark")


def account_numbers(url: str, shard: int) -> "array[int]":
    """Return the numbers of a shard's accounts, in eight bytes each: the memory of a writer is looked at beside them."""
    with psycopg.connect(url) as connection, connection.cursor(name="numbers") as cursor:
        cursor.itersize = 10_000
        cursor.execute("SELECT account FROM accounts WHERE book = 1 AND shard = %s ORDER BY account", (shard,))
        return array("q", (row[0] for row in cursor))


def refused(answers: Sequence[Sequence[object]]) -> int:
    """Return how many answers say that funds were insufficient; anything else than that or done is a fault."""
    count = 0
    for [answer] in answers:
        if not isinstance(answer, Transfer) or answer.outcome not in (DONE, Rejection.INSUFFICIENT_FUNDS):
            raise AssertionError(f"the ledger answered {answer!r}")
        count += answer.outcome != DONE
    return count


def _post(identifier: bytes, debit: int, credit: int, amount: int) -> Post:
    return Post(
        identifier, debit, credit, amount, CURRENCY, int(Purpose.TRANSFER), int(EvidenceClass.PAYMENT), _EVIDENCE
    )
