"""An auditor of the books who trusts nobody: statements of our own over the tables as they are."""

from typing import Any

from psycopg import Connection

_PROMISES = {
    "a posted transfer has its two entries, which sum to zero": """
        SELECT t.id FROM transfers t LEFT JOIN entries e ON e.book = t.book AND e.shard = t.shard AND e.transfer = t.id
        WHERE t.book = %(book)s GROUP BY t.id, t.outcome, t.kind
        HAVING (count(e.transfer), coalesce(sum(e.amount), 0))
            <> (CASE WHEN t.outcome = 0 AND t.kind IN (1, 3, 6) THEN 2 ELSE 0 END, 0)
    """,
    "an entry stands where its transfer says, with its amount and dates": """
        SELECT e.account, e.number FROM entries e
        LEFT JOIN transfers t ON t.book = e.book AND t.shard = e.shard AND t.id = e.transfer
            AND t.booking_date = e.booking_date AND t.value_date = e.value_date
            AND ((t.debit, t.debit_entry, -t.amount) = (e.account, e.number, e.amount)
                 OR (t.credit, t.credit_entry, t.amount) = (e.account, e.number, e.amount))
        WHERE e.book = %(book)s AND t.id IS NULL
    """,
    "entries are numbered without a gap, keep the sum so far, and are booked in order": """
        SELECT account, number FROM (
            SELECT account, number, balance, row_number() OVER w AS place, sum(amount) OVER w AS total,
                   max(booking_date) OVER w AS latest, booking_date
            FROM entries WHERE book = %(book)s WINDOW w AS (PARTITION BY account ORDER BY number)
        ) each WHERE number <> place OR balance <> total OR booking_date < latest
    """,
    "an account has what its entries come to": """
        SELECT account, balance, entries FROM accounts a WHERE book = %(book)s
        AND (balance, entries, last_booking) <> (
            SELECT coalesce(sum(amount), 0), count(*), coalesce(max(booking_date), '0001-01-01') FROM entries e
            WHERE e.book = a.book AND e.shard = a.shard AND e.account = a.account)
    """,
    "an account holds what its open reservations come to": """
        SELECT account, held FROM accounts a WHERE book = %(book)s
        AND held <> (SELECT coalesce(sum(amount), 0) FROM reservations r
                     WHERE r.book = a.book AND r.shard = a.shard AND r.debit = a.account AND r.state = 1)
    """,
    "nobody is over the limit": """
        SELECT account FROM accounts
        WHERE book = %(book)s AND balance::numeric - held + overdraft_limit < 0
    """,
    "no money is made or lost": """
        SELECT currency, sum(balance) FROM accounts WHERE book = %(book)s GROUP BY currency HAVING sum(balance) <> 0
    """,
    "money moves within a currency": """
        SELECT t.id FROM transfers t JOIN accounts a ON a.book = t.book AND a.account IN (t.debit, t.credit)
        WHERE t.book = %(book)s AND t.outcome = 0 AND t.debit > 0 AND a.currency <> t.currency
    """,
    "no customer is debited but by a signed act, or for history against an account of migration": """
        SELECT t.id FROM transfers t
        WHERE t.book = %(book)s AND t.outcome = 0 AND t.kind IN (1, 2, 3, 6)
        AND (SELECT kind FROM accounts a WHERE a.book = t.book AND a.shard = t.shard AND a.account = t.debit) < 10
        AND NOT (length(t.evidence) = 32 AND (t.evidence_class >= 4 OR t.evidence_class = 2 AND t.kind <> 6 AND
                 16 = (SELECT kind FROM accounts a
                       WHERE a.book = t.book AND a.shard = t.shard AND a.account = t.credit)))
    """,
    "records are numbered without a gap up to the head": """
        SELECT h.shard, h.next_seq FROM shard_heads h WHERE h.book = %(book)s
        AND (SELECT array_agg(seq ORDER BY seq) FROM (
                 SELECT seq FROM transfers t WHERE t.book = h.book AND t.shard = h.shard
                 UNION ALL SELECT seq FROM account_acts a WHERE a.book = h.book AND a.shard = h.shard) every)
            IS DISTINCT FROM (SELECT array_agg(n) FROM generate_series(1, h.next_seq - 1) n)
    """,
    "a posted reservation was posted once and for no more than was held": """
        SELECT r.id FROM reservations r WHERE r.book = %(book)s AND (r.state = 2) <> (
            SELECT count(*) = 1 AND bool_and(t.amount <= r.amount AND t.id = r.resolved_by) IS TRUE FROM transfers t
            WHERE t.book = r.book AND t.shard = r.shard AND t.kind = 3 AND t.outcome = 0 AND t.reference = r.id)
    """,
    "every batch was told of once": """
        SELECT first_seq FROM journal j WHERE book = %(book)s
        AND first_seq <> coalesce((SELECT max(p.next_seq) FROM journal p
                                   WHERE p.book = j.book AND p.shard = j.shard AND p.first_seq < j.first_seq), 1)
    """,
}


def broken_promises(connection: Connection[Any], book: int = 1) -> dict[str, list[Any]]:
    """Return every promise that the books break, with the first places where they do."""
    found = {}
    connection.execute("ANALYZE accounts, entries, transfers, reservations, account_acts, journal")
    for promise, statement in _PROMISES.items():
        if rows := connection.execute(statement + " LIMIT 5", {"book": book}).fetchall():
            found[promise] = rows
    return found
