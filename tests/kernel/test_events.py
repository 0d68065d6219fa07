"""Events: what every consumer can rely on, whoever said them."""

import base64
from dataclasses import replace
from datetime import datetime

import pytest

from latticebank.kernel.events import MAX_DATA_BYTES, Event
from latticebank.kernel.outbox import BatchTooLarge, events_of, outbox_parameters
from latticebank.values.errors import BankError, InvalidValue
from tests.clocks import NOON
from tests.kernel.said import event

SAID = event("transfer-1", data=b"\x00\xff")


def test_an_event_is_a_cloud_event() -> None:
    assert SAID.to_cloudevent() == {
        "specversion": "1.0",
        "id": str(SAID.id),
        "source": "/latticebank/ledger",
        "type": "latticebank.ledger.transfers-posted.v1",
        "time": "2026-03-02T12:00:00Z",
        "subject": "transfer-1",
        "partitionkey": "shard-0",
        "causationid": "payment-1",
        "datacontenttype": "application/octet-stream",
        "data_base64": base64.b64encode(b"\x00\xff").decode(),
    }


@pytest.mark.parametrize(
    ("source", "topic"), [("/latticebank/ledger", "latticebank.ledger"), ("ledger", "ledger"), ("a/b-c/d", "a.b-c.d")]
)
def test_the_source_decides_the_topic(source: str, topic: str) -> None:
    assert replace(SAID, source=source).topic == topic


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("source", ""),
        ("source", "//ledger"),
        ("source", "/Ledger"),
        ("source", "/" + "a" * 100),
        ("type", "latticebank.ledger.posted"),
        ("type", "posted.v0"),
        ("type", "posted.v1\n"),
        ("subject", ""),
        ("subject", "Erika Mustermann"),
        ("subject", "x" * 201),
        ("partition_key", ""),
        ("causation_id", ""),
        ("data_content_type", "json"),
        ("time", datetime(2026, 3, 2, 12)),  # noqa: DTZ001
        ("data", bytes(MAX_DATA_BYTES + 1)),
    ],
)
def test_an_event_that_somebody_could_not_read_is_refused(field: str, wrong: object) -> None:
    with pytest.raises(InvalidValue) as raised:
        replace(SAID, **{field: wrong})  # type: ignore[arg-type]
    assert raised.value.field == field


def test_a_batch_comes_back_from_its_row_as_it_was() -> None:
    batch: list[Event] = [SAID, event("transfer-2", data=bytes(MAX_DATA_BYTES))]
    book, shard, count, row = outbox_parameters(7, 3, batch)
    assert (book, shard, count) == (7, 3, 2)
    assert isinstance(row, bytes)
    assert events_of(row) == batch
    assert events_of(row)[0].time == NOON


@pytest.mark.parametrize("batch", [[], [SAID] * 1001, [event("big", data=bytes(MAX_DATA_BYTES))] * 8])
def test_a_batch_is_bounded_in_events_and_bytes(batch: list[Event]) -> None:
    with pytest.raises(BatchTooLarge) as raised:
        outbox_parameters(1, 0, batch)
    assert isinstance(raised.value, BankError)
