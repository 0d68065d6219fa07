"""How other services, and the operator, call audit."""

from collections.abc import Sequence
from uuid import UUID

from latticebank.kernel.client import ServiceClient
from latticebank.security.audit.wire import LogStatus, Proofs, ProofsWanted


class AuditClient(ServiceClient):
    """A typed client of audit; all calls are safe to repeat, and are repeated while audit is not available."""

    async def proofs(self, owner: UUID, things: Sequence[UUID]) -> Proofs:
        """Return all entries about these things of an owner, opened and proved; at most 20 things."""
        body = ProofsWanted(owner, list(things))
        return await self.call("POST", "/internal/audit/proofs", Proofs, body=body, idempotency_key=owner)

    async def status(self) -> LogStatus:
        """Return how the log stands."""
        return await self.call("GET", "/api/audit/status", LogStatus)
