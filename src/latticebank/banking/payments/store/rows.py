"""The driver below a unit of work, and the rows of the tables as things of the model."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.banking.payments.model.payments import Batch, Decision, Payment
from latticebank.kernel.database import UnitOfWork

Driver: TypeAlias = psycopg.AsyncConnection[TupleRow]

BATCH_COLUMNS = "id, state, signer, session, device, count, hash, received_at, final_at, booking_date"
DECISION_COLUMNS = "payment, choice, decided_at, decided_by, device, document, signature"


async def driver_of(work: UnitOfWork | AsyncConnection) -> Driver:
    """Return the driver's own connection: it sends statements in pipelines and takes rows by COPY.

    It is in the transaction of the unit of work, which alone ends it.
    """
    connection = work.connection if isinstance(work, UnitOfWork) else work
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    return driver


def payment_from(row: Sequence[Any]) -> Payment:
    """Return the payment in a row of `PAYMENT_COLUMNS`."""
    (
        _,
        _,
        identifier,
        kind,
        state,
        hold,
        high_value,
        signer,
        session,
        device,
        debtor,
        creditor,
        amount,
        currency,
        *rest,
    ) = row
    day, digest, received_at, reason, final_at, booking_date, approval_expires_at, batch, place = rest
    return Payment(
        identifier, kind, state, signer, session, device, debtor, creditor, amount, currency, day, digest, hold, high_value,
        received_at, reason, final_at, booking_date, approval_expires_at, batch, place,
    )  # fmt: skip


def batch_from(row: Sequence[Any]) -> Batch:
    """Return the batch in a row of `BATCH_COLUMNS`."""
    return Batch(*row)


def decision_from(row: Sequence[Any]) -> Decision:
    """Return the decision in a row of `DECISION_COLUMNS`."""
    return Decision(*row)
