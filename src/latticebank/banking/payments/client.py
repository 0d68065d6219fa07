"""How the other services call payments: a typed client over its own routes."""

from uuid import UUID

from latticebank.banking.payments.wire import (
    BatchView,
    InstructionView,
    PaymentPage,
    PaymentView,
    ReceiptAnswer,
    SignedBatch,
    SignedDecision,
    SignedText,
)
from latticebank.kernel.client import ServiceClient

_ROOT = "/api/transactions"


class PaymentsClient(ServiceClient):
    """A typed client of payments. `identifier` is the id of the document that is sent: to send it again is safe."""

    async def transfer(self, identifier: UUID, signed: SignedText) -> PaymentView:
        """Return a payment by a signed instruction."""
        return await self.call("POST", f"{_ROOT}/transfer", PaymentView, body=signed, idempotency_key=identifier)

    async def batch(self, identifier: UUID, signed: SignedBatch) -> BatchView:
        """Return what became of a signed batch."""
        return await self.call("POST", f"{_ROOT}/batch", BatchView, body=signed, idempotency_key=identifier)

    async def order_cash(self, identifier: UUID, signed: SignedText) -> PaymentView:
        """Return a cash order by a teller's signature."""
        return await self.call("POST", f"{_ROOT}/cash", PaymentView, body=signed, idempotency_key=identifier)

    async def history(self, *, account: str | None = None, cursor: str | None = None, limit: int = 50) -> PaymentPage:
        """Return a page of what the caller signed, newest first."""
        given = {"account": account, "cursor": cursor, "limit": limit}
        query = {name: value for name, value in given.items() if value is not None}
        return await self.call("GET", f"{_ROOT}/history", PaymentPage, query=query)

    async def approvals(self, *, cursor: str | None = None, limit: int = 50) -> PaymentPage:
        """Return a page of the payments that wait for a manager."""
        query: dict[str, str | int] = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        return await self.call("GET", f"{_ROOT}/approvals", PaymentPage, query=query)

    async def payment(self, identifier: UUID) -> PaymentView:
        """Return a payment."""
        return await self.call("GET", f"{_ROOT}/{identifier}", PaymentView)

    async def instruction(self, identifier: UUID) -> InstructionView:
        """Return what was signed for a payment."""
        return await self.call("GET", f"{_ROOT}/{identifier}/instruction", InstructionView)

    async def receipt(self, identifier: UUID) -> ReceiptAnswer:
        """Return the receipt of a posted payment, or what it still waits for."""
        # For the type checker a union of structures is no type.
        answer: type[ReceiptAnswer] = ReceiptAnswer  # type: ignore[assignment]
        return await self.call("GET", f"{_ROOT}/{identifier}/receipt", answer)

    async def cancel(self, identifier: UUID) -> PaymentView:
        """Cancel a payment that waits for approval."""
        return await self.call("POST", f"{_ROOT}/{identifier}/cancel", PaymentView)

    async def decide(self, identifier: UUID, signed: SignedDecision) -> PaymentView:
        """Decide about a payment that waits for approval."""
        return await self.call("POST", f"{_ROOT}/{identifier}/decision", PaymentView, body=signed)
