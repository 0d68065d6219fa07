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


async def awaited_receipt(ask: Callable[[], Awaitable[msgspec.Raw]], payment: UUID, timeout: float) -> bytes:
    """Return a receipt exactly as the bank wrote it; `ask` returns what the bank answers now.

    Raises:
        NoReceiptYet: there was none within `timeout` seconds.
        ServiceUnavailable: the bank answered something else.

    """
    now = asyncio.get_running_loop().time
    ends, pause = now() + timeout, _FIRST_PAUSE_SECONDS
    while True:
        served = await ask()
        try:
            answer = _receipt.decode(served)
        except msgspec.DecodeError as error:
            raise ServiceUnavailable("the bank answered what is no receipt") from error
        if isinstance(answer, Receipt):
            return bytes(served)
        if now() + pause >= ends:
            raise NoReceiptYet(f"payment {payment} waits for {_AWAITED[answer.waits_for]}", hint="ask again later")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
