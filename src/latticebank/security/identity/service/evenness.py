"""Answers that leave at even times, so that how long one took tells nothing of what was found."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil

STEP_SECONDS = 0.25


@asynccontextmanager
async def evenly(only: type[Exception] | None = None) -> AsyncIterator[None]:
    """Leave the block at the next multiple of a quarter of a second since it was entered, by its end or by an error.

    With `only`, an end or another error leaves at once.
    """
    began = asyncio.get_running_loop().time()
    try:
        yield
    except Exception as error:
        if only is None or isinstance(error, only):
            await _until_even(began)
        raise
    if only is None:
        await _until_even(began)


async def _until_even(began: float) -> None:
    taken = asyncio.get_running_loop().time() - began
    await asyncio.sleep(ceil(taken / STEP_SECONDS) * STEP_SECONDS - taken)
