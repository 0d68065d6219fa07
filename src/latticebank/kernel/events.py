"""What a service tells the others: CloudEvents 1.0 in the bank's profile.

An event carries no personal data: it names things by their identifiers, and who may know more asks the service that
owns them. It always has a partition key (what must stay in order goes under one key) and a causation id (what made it
happen: the id of a payment, of a command, of another event).
"""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from latticebank.values.errors import InvalidValue

MAX_DATA_BYTES = 1_000_000
"""The most that one event carries, in bytes: with its attributes it still fits Kafka's usual limit for a message."""

_SEGMENT = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_SOURCE = re.compile(rf"(?=.{{1,100}}\Z)/?{_SEGMENT}(?:/{_SEGMENT})*")
_TYPE = re.compile(rf"(?=.{{1,120}}\Z){_SEGMENT}\.v[1-9][0-9]{{0,3}}")
_NAME = re.compile(r"[!-~]{1,200}")
_CONTENT_TYPE = re.compile(r"(?=.{1,100}\Z)[a-z]+/[a-z0-9][a-z0-9.+-]*(?:; ?[!-~]+)?")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, said once: its id is what makes two deliveries of it one event.

    - `source`: who says it, such as `/latticebank/ledger`; also decides the topic
    - `type`: what happened, versioned, such as `latticebank.ledger.transfers-posted.v1`
    - `time`: when it happened, aware
    - `subject`: the id of the thing that it happened to
    - `partition_key`: events of one source under one key are kept in order where the bus has partitions
    - `causation_id`: the id of what made it happen
    - `data`: the content in the form that `data_content_type` names, at most `MAX_DATA_BYTES` bytes

    Raises:
        InvalidValue: an attribute is malformed or over its bound; `field` names it.

    """

    id: UUID
    source: str
    type: str
    time: datetime
    subject: str
    partition_key: str
    causation_id: str
    data_content_type: str
    data: bytes

    def __post_init__(self) -> None:
        """Refuse an event that some consumer could not read."""
        _require(_SOURCE, self.source, "source", "a path of lower-case names, such as /latticebank/ledger")
        _require(
            _TYPE, self.type, "type", "lower-case names that end in a version, such as latticebank.ledger.posted.v1"
        )
        _require(_NAME, self.subject, "subject", "1 to 200 printable ASCII characters without spaces")
        _require(_NAME, self.partition_key, "partition_key", "1 to 200 printable ASCII characters without spaces")
        _require(_NAME, self.causation_id, "causation_id", "1 to 200 printable ASCII characters without spaces")
        _require(_CONTENT_TYPE, self.data_content_type, "data_content_type", "a media type in lower case")
        if self.time.tzinfo is None:
            raise InvalidValue("the time of an event names its offset from UTC", field="time")
        if len(self.data) > MAX_DATA_BYTES:
            raise InvalidValue(
                f"an event carries at most {MAX_DATA_BYTES} bytes, not {len(self.data)}", field="data", hint="split it"
            )

    @property
    def topic(self) -> str:
        """The stream of the bus that keeps this event: one for each source, such as `latticebank.ledger`."""
        return self.source.strip("/").replace("/", ".")

    def to_cloudevent(self) -> dict[str, str]:
        """Return the event in the JSON format of CloudEvents 1.0, its data in `data_base64`."""
        return {
            "specversion": "1.0",
            "id": str(self.id),
            "source": self.source,
            "type": self.type,
            "time": self.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "subject": self.subject,
            "partitionkey": self.partition_key,
            "causationid": self.causation_id,
            "datacontenttype": self.data_content_type,
            "data_base64": base64.b64encode(self.data).decode("ascii"),
        }


def _require(form: re.Pattern[str], text: str, field: str, expected: str) -> None:
    if form.fullmatch(text) is None:
        raise InvalidValue(f"this must be {expected}", field=field)
