"""Signs the load of a run ahead of time, in a process of its own: what a customer's device does is no cost of the bank.

The first line on standard input is a `Signing`, since seeds are secrets; the child writes the requests and ends.
"""

import asyncio
import random
import sys
from pathlib import Path

import msgspec

from benchmarks.customers import CURRENCY, Payer
from benchmarks.http_load import request_bytes, write_requests
from latticebank.client.device import Device, Payee, Signatory
from latticebank.crypto.signatures import SigningKey
from latticebank.kernel.settings import DEFAULT_BANK
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source, parse_uuid

TRANSFER = "/api/transactions/transfer"
BATCH = "/api/transactions/batch"


class Signing(msgspec.Struct, frozen=True):
    """What is signed: `requests` of each payer, with one payment each, or with so many under one manifest.

    `other_bank` signs for a bank that does not exist: such a request costs all that comes before verification. One in
    `poor` payments asks for more than anybody has.
    """

    payers: list[Payer]
    payees: list[str]
    requests: int
    file: str
    payments: int = 1
    other_bank: bool = False
    poor: int = 0


async def sign(signing: Signing) -> None:
    """Let the child write the file of a signing.

    Raises:
        RuntimeError: it failed; what it said is above.

    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.signing", stdin=asyncio.subprocess.PIPE
    )
    await child.communicate(msgspec.json.encode(signing) + b"\n")
    if child.returncode:
        raise RuntimeError("the load could not be signed")


def _requests_of(payer: Payer, signing: Signing, chance: random.Random) -> list[bytes]:
    clock = SystemClock()
    device = Device(parse_uuid(payer.device, "device"), SigningKey.from_seed(payer.algorithm, payer.seed))
    signatory = Signatory("other.bank" if signing.other_bank else DEFAULT_BANK, device, clock, Uuid7Source(clock))
    made = []
    for number in range(signing.requests):
        payees = [_payee(signing, number * signing.payments + place, chance) for place in range(signing.payments)]
        if signing.payments == 1:
            payment = signatory.payment(payer.account, payees[0])
            body = {"document": payment.document, "signature": payment.signature}
            made.append(request_bytes(TRANSFER, payer.token, msgspec.json.encode(body)))
        else:
            batch = signatory.batch(payer.account, payees)
            manifest = batch.manifest
            whole = {"manifest": manifest.document, "signature": manifest.signature, "payments": batch.payments}
            made.append(request_bytes(BATCH, payer.token, msgspec.json.encode(whole)))
    return made


def _payee(signing: Signing, number: int, chance: random.Random) -> Payee:
    poor = signing.poor and number % signing.poor == 0
    amount = "900000.00" if poor else f"0.{chance.randrange(1, 100):02d}"
    return Payee(chance.choice(signing.payees), "Somebody", amount, CURRENCY, "benchmark")


if __name__ == "__main__":
    task = msgspec.json.decode(sys.stdin.readline(), type=Signing)
    dice = random.Random(task.file)
    write_requests(Path(task.file), [_requests_of(payer, task, dice) for payer in task.payers])
