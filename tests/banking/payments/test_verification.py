"""The queue of signatures: bounded at all and for each user, whatever is thrown at it."""

import asyncio
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from latticebank.banking.payments.model.refusals import BankBusy, TooManyAttempts
from latticebank.banking.payments.service.metrics import PaymentMetrics
from latticebank.banking.payments.service.verification import (
    BAD_SIGNATURE_SECONDS,
    MAX_BAD_SIGNATURES,
    MAX_WAITING,
    MAX_WAITING_OF_USER,
    Verifier,
)
from latticebank.crypto.errors import InvalidSignature
from latticebank.crypto.signatures import SigningKey, VerifyingKey

ADA, BOB = UUID(int=1), UUID(int=2)
KEY = SigningKey.generate()
PUBLIC = VerifyingKey(KEY.algorithm, KEY.public_bytes)
TYPE = "latticebank/payment/v1"
GOOD = KEY.sign(b"pay", TYPE.encode())


class Stopwatch:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
async def verifier(stopwatch: Stopwatch) -> Verifier:
    """A verifier whose workers do not run yet."""
    return Verifier(PaymentMetrics(CollectorRegistry()), stopwatch)


def ask(verifier: Verifier, user: UUID, signature: bytes = GOOD) -> "asyncio.Task[None]":
    return asyncio.create_task(verifier.verify(user, PUBLIC, b"pay", signature, TYPE))


async def test_what_waits_is_verified_once_the_workers_run(verifier: Verifier) -> None:
    good, bad = [ask(verifier, ADA) for _ in range(20)], ask(verifier, BOB, GOOD[::-1])
    await asyncio.sleep(0)
    async with verifier.running():
        await asyncio.gather(*good)
        with pytest.raises(InvalidSignature):
            await bad


async def test_one_user_cannot_fill_the_queue(verifier: Verifier) -> None:
    waiting = [ask(verifier, ADA) for _ in range(MAX_WAITING_OF_USER)]
    await asyncio.sleep(0)
    with pytest.raises(BankBusy):
        await ask(verifier, ADA)
    others = ask(verifier, BOB)
    await asyncio.sleep(0)
    async with verifier.running():
        await asyncio.gather(*waiting, others)
        await ask(verifier, ADA)


async def test_the_queue_is_bounded_and_ends_with_an_answer(verifier: Verifier) -> None:
    waiting = [ask(verifier, UUID(int=number)) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(BankBusy):
        await ask(verifier, UUID(int=MAX_WAITING))
    async with verifier.running():
        pass
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {BankBusy, type(None)}


async def test_ten_wrong_signatures_within_a_minute_stop_a_user_for_its_rest(
    verifier: Verifier, stopwatch: Stopwatch
) -> None:
    async with verifier.running():
        for second in range(MAX_BAD_SIGNATURES):
            stopwatch.now = second
            with pytest.raises(InvalidSignature):
                await ask(verifier, ADA, b"")
        with pytest.raises(TooManyAttempts) as refused:
            await ask(verifier, ADA)
        assert refused.value.retry_after == BAD_SIGNATURE_SECONDS - MAX_BAD_SIGNATURES + 2
        await ask(verifier, BOB)
        stopwatch.now = BAD_SIGNATURE_SECONDS
        await ask(verifier, ADA)
