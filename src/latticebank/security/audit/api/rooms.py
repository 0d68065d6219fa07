"""What the routes of audit find in the state of its application."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request

from latticebank.crypto.log_policy import NamedWitness, parse_policy
from latticebank.crypto.notes import MAX_NOTE, MAX_SIGNATURES
from latticebank.kernel.service import Context
from latticebank.kernel.settings import InvalidSettings
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.background import Background
from latticebank.security.audit.service.enrolments import Enrolments
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.opening import Openings
from latticebank.security.audit.service.proving import Proving
from latticebank.security.audit.service.publishing import Publishing
from latticebank.security.audit.service.reading import Reading
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.service.status import Status
from latticebank.security.audit.service.witnessing import Witnessing, how_many_fit
from latticebank.security.audit.subscriptions.intake import Intake

_ADDRESS = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True)
class Rooms:
    """The use cases of audit, by concept."""

    foundation: Foundation
    witnessing: Witnessing
    background: Background
    intake: Intake
    reading: Reading
    proving: Proving
    openings: Openings
    status: Status

    @classmethod
    def of(cls, context: Context) -> "Rooms":
        """Return the use cases for what a service is given.

        Raises:
            MalformedNote, InvalidSettings: the file that names the witnesses is none.

        """
        base = Foundation.of(context)
        witnesses = _witnesses(context.settings.witnesses, context.settings.bank)
        standing = Standing(base)
        witnessing = Witnessing(base, standing, witnesses)
        appending = Appending(base, standing)
        publishing = Publishing(base, standing, witnessing, appending)
        return cls(
            base,
            witnessing,
            Background(base, standing, publishing),
            Intake(base, standing, Enrolments(base), appending),
            Reading(base, publishing, witnesses),
            Proving(base),
            Openings(base),
            Status(base, standing, witnessing),
        )


def rooms(request: Request) -> Rooms:
    """Return the use cases of the application that a request came to."""
    found: Rooms = request.app.state.rooms
    return found


def _witnesses(policy: Path | None, bank: str) -> list[NamedWitness]:
    if policy is None:
        return []
    where = f"witnesses (LATTICEBANK_WITNESSES): {policy}"
    try:
        named = list(parse_policy(policy.read_bytes()).witnesses)
    except OSError as error:
        raise InvalidSettings(f"{where} cannot be read: {error.strerror}", field="witnesses") from error
    if silent := [witness.name for witness in named if not _is_address(witness.url or "")]:
        raise InvalidSettings(
            f"{where} names no address of {', '.join(silent)}",
            field="witnesses",
            hint="write it at the end of the line: witness <name> <key> http://<host>:<port>",
        )
    if (fitting := how_many_fit(bank, [witness.key for witness in named])) < len(named):
        raise InvalidSettings(
            f"{where} names {len(named)} witnesses, and the cosignatures of the first {fitting} fill a checkpoint: "
            f"it has at most {MAX_NOTE:,} bytes and {MAX_SIGNATURES} signatures",
            field="witnesses",
            hint="name fewer witnesses",
        )
    return named


def _is_address(url: str) -> bool:
    if _ADDRESS.fullmatch(url) is None:
        return False
    try:
        parts = urlsplit(url)
        if "[" in parts.netloc:
            IPv6Address(parts.hostname or "")
        return parts.port != 0
    except ValueError:
        return False
