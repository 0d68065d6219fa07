"""What every record says, whatever happened."""

from latticebank.kernel.events import Event
from latticebank.security.audit.model.entries import text_of_time


def common(event: Event, bank: str) -> dict[str, str | None]:
    """Return the facts of an event that stand in each of its records; `event` stands for its only one."""
    return {"at": text_of_time(event.time), "bank": bank, "event": f"{event.id}#0"}
