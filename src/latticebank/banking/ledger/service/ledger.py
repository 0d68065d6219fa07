"""The use cases of the ledger: each reads, or hands its command to the writer of the account's shard."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from uuid import UUID

from latticebank.banking.ledger.model.accounts import AccountCommand, AccountEvent, OpenAccount
from latticebank.banking.ledger.model.decide import Answer, Chain
from latticebank.banking.ledger.model.posting import member_id
from latticebank.banking.ledger.model.reasons import REASONS
from latticebank.banking.ledger.model.transfers import DONE, Expire, Rejection, Transfer
from latticebank.banking.ledger.service.metrics import WriterMetrics
from latticebank.banking.ledger.service.openings import answer_to_opening, opening_command
from latticebank.banking.ledger.service.orders import answer_to, chains_of
from latticebank.banking.ledger.service.writer import ShardWriter
from latticebank.banking.ledger.store import debits, read
from latticebank.banking.ledger.store.debits import RecordedDebit
from latticebank.banking.ledger.store.read import AccountRow, EntryRow, Period
from latticebank.banking.ledger.wire import Basis, OpeningAnswer, OpeningOrder, Order, OrderAnswer
from latticebank.kernel.database import Database
from latticebank.kernel.http import IdempotencyKeyReused
from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.values.account_number import format_account_number, shard_of
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.ids import Uuid7Source

EXPIRED_AT_ONCE = 1_000
_EXPIRY_PACE = Pace(idle=1)

__all__ = ["AccountNotFound", "AccountRow", "Ledger", "LedgerRefusal", "Period", "TransferNotFound"]


class AccountNotFound(BankError):
    """There is no account of this number."""

    code = "account-not-found"
    title = "There is no such account"
    fault = Fault.NOT_FOUND

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no account {format_account_number(number)}", field="account")


class TransferNotFound(BankError):
    """The ledger has no record under this identifier."""

    code = "transfer-not-found"
    title = "There is no such transfer"
    fault = Fault.NOT_FOUND


class LedgerRefusal(BankError):
    """A rule of the ledger is against it; the code is that of the rule."""

    title = "The ledger refused"
    fault = Fault.CONFLICT
    codes = tuple(rejection.word for rejection in Rejection)

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(REASONS[rejection])
        self.code = rejection.word


class Ledger:
    """The ledger of one book. `shards` is how many shards it is spread over."""

    def __init__(
        self,
        database: Database,
        book: int,
        shards: int,
        clock: Clock,
        ids: Uuid7Source,
        metrics: WriterMetrics | None = None,
    ) -> None:
        self._database = database
        self._book = book
        self._clock = clock
        self._writers = [ShardWriter(database, book, shard, clock, ids, metrics) for shard in range(shards)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writers, one for each shard, and release reservations as their time passes."""
        expiry = keep_working("expiry", self.expire_due, wake=Wake(), pace=_EXPIRY_PACE, failed=lambda *_: None)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(writer.run()) for writer in self._writers]
            tasks.append(group.create_task(expiry))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def shard_for(self, key: UUID, wanted: int | None, place: str = "") -> int:
        """Return the shard on which an account is opened under this key, the same at each repetition.

        `place` is the JSON pointer to where it was asked for.

        Raises:
            InvalidValue: the bank does not have the shard that is wanted.

        """
        if wanted is not None and wanted >= len(self._writers):
            raise InvalidValue(f"this bank has the shards 0 to {len(self._writers) - 1}", field=f"{place}/shard")
        return key.int % len(self._writers) if wanted is None else wanted

    async def open_accounts(self, openings: list[OpeningOrder], actor: str) -> list[OpeningAnswer]:
        """Return the answers to a list of openings, in their order, once they are durable.

        Raises:
            InvalidValue: an opening is malformed; nothing was done.

        """
        placed: list[tuple[int, Chain]] = []
        for place, order in enumerate(openings):
            pointer = f"/openings/{place}"
            command = opening_command(order.id.bytes, order, actor, pointer)
            placed.append((self.shard_for(order.id, order.shard, pointer), (command,)))
        answers = await self._submit(placed)
        return [answer_to_opening(order, answer) for order, [answer] in zip(openings, answers, strict=True)]

    async def order(self, orders: list[Order]) -> list[OrderAnswer]:
        """Return the answers to a list of orders, in their order, once they are durable.

        Raises:
            InvalidValue: an order is malformed, or its accounts lie on several shards; nothing was done.

        """
        answers = await self._submit(chains_of(orders, len(self._writers)))
        flat = [answer for chain in answers for answer in chain]
        return [answer_to(order, answer) for order, answer in zip(orders, flat, strict=True)]

    async def act(self, command: AccountCommand, shard: int) -> AccountEvent:
        """Return the record of an act on an account, or of its opening on this shard.

        Raises:
            IdempotencyKeyReused: the identifier named another act before.
            AccountNotFound, LedgerRefusal: a rule is against it.

        """
        if shard >= len(self._writers):
            if not isinstance(command, OpenAccount):
                raise AccountNotFound(command.account)
            raise InvalidValue(f"this bank has the shards 0 to {len(self._writers) - 1}", field="shard")
        [[answer]] = await self._writers[shard].submit([(command,)])
        if not isinstance(answer, AccountEvent):
            raise IdempotencyKeyReused
        if answer.outcome == Rejection.ACCOUNT_UNKNOWN:
            raise AccountNotFound(answer.account)
        if answer.outcome != DONE:
            raise LedgerRefusal(Rejection(answer.outcome))
        return answer

    async def account(self, number: int) -> AccountRow:
        """Return an account as it stands.

        Raises:
            AccountNotFound: there is none.

        """
        async with self._database.read() as connection:
            return await self._existing(connection, number)

    async def accounts(self, *, after: int, limit: int, kind: int, currency: str, party: str) -> list[AccountRow]:
        """Return a page of accounts in order of their numbers; 0 and the empty string ask for any."""
        parties = (party,) if party else None
        async with self._database.read() as connection:
            return await read.accounts(
                connection, self._book, after=after, limit=limit, kind=kind, currency=currency, parties=parties
            )

    async def accounts_of(self, parties: Sequence[str], *, after: int, limit: int) -> list[AccountRow]:
        """Return a page of the accounts of which one of these parties is owner or may act, in order of numbers."""
        async with self._database.read() as connection:
            return await read.accounts(connection, self._book, after=after, limit=limit, parties=parties)

    async def require_account_of(self, parties: Sequence[str], number: int) -> None:
        """Return if one of these parties is owner of an account or may act for it.

        Raises:
            AccountNotFound: none is, or there is no such account; it is never told which.

        """
        row = await self.account(number)
        if set(parties).isdisjoint((*row.owners, *row.mandates)):
            raise AccountNotFound(number)

    async def accounts_numbered(self, numbers: Sequence[int]) -> list[AccountRow]:
        """Return those of these accounts that exist, in order of their numbers."""
        async with self._database.read() as connection:
            return await read.accounts_numbered(connection, self._book, numbers)

    async def customer_debits(self, after: tuple[int, int], limit: int) -> list[RecordedDebit]:
        """Return the first customers' debits after a shard and sequence number, in order of both."""
        async with self._database.read() as connection:
            return await debits.customer_debits(connection, self._book, after=after, limit=limit)

    async def accounts_by_reference(self, names: Sequence[str]) -> dict[str, int]:
        """Return the accounts that have these names in another system."""
        async with self._database.read() as connection:
            return await read.accounts_by_reference(connection, self._book, names)

    async def balance(self, number: int, day: date, basis: Basis) -> tuple[AccountRow, int]:
        """Return an account and its balance at the end of a day, in minor units.

        Raises:
            AccountNotFound: there is none.

        """
        shard = shard_of(number)
        look_up = read.balance_booked_by if basis == "booking" else read.balance_valued_by
        async with self._database.read() as connection:
            row = await self._existing(connection, number)
            return row, await look_up(connection, self._book, shard, number, day)

    async def entries(self, number: int, period: Period, *, after: int, limit: int) -> tuple[str, list[EntryRow]]:
        """Return an account's currency and a page of its entries of a period.

        Raises:
            AccountNotFound: there is none.

        """
        shard = shard_of(number)
        async with self._database.read() as connection:
            row = await self._existing(connection, number)
            page = await read.entries(connection, self._book, shard, number, period, after=after, limit=limit)
            return row.account.currency, page

    async def transfer(self, identifier: UUID) -> read.RecordedTransfer:
        """Return the record of a command.

        Raises:
            TransferNotFound: there is none.

        """
        async with self._database.read() as connection:
            found = await read.transfer(connection, self._book, len(self._writers), identifier)
        if found is None:
            raise TransferNotFound("the ledger has no record under this identifier", field="id")
        return found

    async def expire_due(self) -> int:
        """Release reservations whose time is over, at most `EXPIRED_AT_ONCE` of each shard; return how many."""
        released = 0
        now = self._clock.now()
        # Writers of several processes name an expiry alike, so that it is recorded once; a refused one (a clock was
        # set back) is tried under another name a minute later.
        minute = int(now.timestamp()) // 60
        for shard, writer in enumerate(self._writers):
            async with self._database.read() as connection:
                due = await read.due_reservations(connection, self._book, shard, now, EXPIRED_AT_ONCE)
            if due:
                answers = await writer.submit([(Expire(member_id(each, minute), each),) for each in due])
                released += sum(isinstance(a, Transfer) and a.outcome == DONE for [a] in answers)
        return released

    async def _submit(self, placed: list[tuple[int, Chain]]) -> list[list[Answer]]:
        """Give each chain to the writer of its shard; return the answers in the order of the chains."""
        answers: list[list[Answer]] = [[] for _ in placed]
        for shard in sorted({shard for shard, _ in placed}):
            places = [place for place, (of, _) in enumerate(placed) if of == shard]
            decided = await self._writers[shard].submit([placed[place][1] for place in places])
            for place, answer in zip(places, decided, strict=True):
                answers[place] = answer
        return answers

    async def _existing(self, connection: read.Connection, number: int) -> AccountRow:
        row = await read.account(connection, self._book, shard_of(number), number)
        if row is None:
            raise AccountNotFound(number)
        return row
