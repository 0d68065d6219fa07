"""Waiting for a receipt: the bank has it when the payment is posted and stands in a published checkpoint of its log."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from latticebank.banking.payments.wire import Receipt, ReceiptAnswer, WaitsFor
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.values.errors import BankError, Fault

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_PUBLISHED_SECONDS = 3.0
"""A log that works shows a posting sooner: until then there is nothing to tell."""
_AWAITED: dict[WaitsFor, str] = {
    "settlement": "the bank to carry it out",
    "approval": "a manager",
    "log": "the next checkpoint of the bank's log",
}

_receipt: "msgspec.json.Decoder[ReceiptAnswer]" = msgspec.json.Decoder(ReceiptAnswer)


class NoReceiptYet(BankError):
    """The bank has no receipt of a payment so far: it is not posted, or not in the bank's log."""

    code = "no-receipt-yet"
    title = "There is no receipt yet"
    fault = Fault.UNAVAILABLE


async def awaited_receipt(
    ask: Callable[[], Awaitable[msgspec.Raw]],
    payment: UUID,
    timeout: float,
    told: Callable[[str], object] = lambda _: None,
) -> bytes:
    """Return a receipt exactly as the bank wrote it; `ask` returns what the bank answers now.

    `told` is given a sentence for each thing that the payment waits for, at once, or after a moment for the log, which is
    always a moment behind. An approval may take days and is not waited for.

    Raises:
        NoReceiptYet: there was none within `timeout` seconds, or the payment waits for a manager.
        ServiceUnavailable: the bank answered something else.

    """
    now = asyncio.get_running_loop().time
    begun, pause, known = now(), _FIRST_PAUSE_SECONDS, ""
    while True:
        served = await ask()
        try:
            answer = _receipt.decode(served)
        except msgspec.DecodeError as error:
            raise ServiceUnavailable("the bank answered what is no receipt") from error
        if isinstance(answer, Receipt):
            return bytes(served)
        waits = f"payment {payment} waits for {_AWAITED[answer.waits_for]}"
        if answer.waits_for == "approval":
            raise NoReceiptYet(waits, hint="ask again when it is approved")
        waited = now() - begun
        if waited + pause >= timeout:
            raise NoReceiptYet(waits, hint="ask again later")
        if waits != known and (answer.waits_for != "log" or waited >= _PUBLISHED_SECONDS):
            told(waits)
            known = waits
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
