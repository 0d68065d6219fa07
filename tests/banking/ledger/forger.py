"""An intruder who rules the database of the ledger: changes records, and makes the journal fit them again."""

from latticebank.banking.ledger.model.journal import GENESIS, act_record, link, transfer_record
from latticebank.banking.ledger.store.proof import snapshot
from latticebank.kernel.database import Database

PAST_THE_GUARDS = "SET LOCAL session_replication_role = replica"
"""Switches the triggers off that keep history."""


async def forge(database: Database, *statements: str, book: int = 1) -> None:
    """Change the books by these statements, then compute the whole journal and the heads of the shards anew."""
    connection = await database.connect()
    async with connection, connection.transaction():
        await connection.execute(PAST_THE_GUARDS)
        for statement in statements:
            changed = await connection.execute(statement.encode())
            assert changed.rowcount > 0, statement
    links = await _links(database, book)
    connection = await database.connect()
    async with connection, connection.transaction():
        await connection.execute(PAST_THE_GUARDS)
        for shard, first_seq, made in links:
            where = (made, book, shard)
            await connection.execute(
                "UPDATE journal SET link = %s WHERE (book, shard, first_seq) = (%s, %s, %s)", (*where, first_seq)
            )
            await connection.execute("UPDATE shard_heads SET journal_link = %s WHERE (book, shard) = (%s, %s)", where)


async def _links(database: Database, book: int) -> list[tuple[int, int, bytes]]:
    """The links that fit the records, in order, each with its shard and first record."""
    made: list[tuple[int, int, bytes]] = []
    async with snapshot(database, book) as books:
        for end in await books.shard_ends():
            transfers = {each.seq: transfer_record(each) async for _, each in books.transfers(end.shard)}
            acts = {each.seq: act_record(each) async for _, each in books.acts(end.shard)}
            previous = GENESIS
            async for batch in books.links(end.shard):
                numbers = range(batch.first_seq, batch.next_seq)
                records = [kind[seq] for kind in (transfers, acts) for seq in numbers if seq in kind]
                previous = link(previous, batch.first_seq, batch.recorded_at, records)
                made.append((end.shard, batch.first_seq, previous))
    return made
