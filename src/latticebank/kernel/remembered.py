"""What neighbours said, remembered for a while and asked for in bulk."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Answers of a bulk question, at most `at_most` of them and each for so many `seconds`.

    Whatever is asked while a question is under way goes into the next one, at most `at_once` keys. What does not exist
    is not remembered. `monotonic` gives its time in seconds.
    """

    def __init__(
        self,
        load: Callable[[list[K]], Awaitable[Mapping[K, V]]],
        *,
        at_most: int,
        seconds: float,
        at_once: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._at_most = at_most
        self._seconds = seconds
        self._at_once = at_once
        self._monotonic = monotonic
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._wanted: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return what belongs to a key, None if there is nothing; whatever the question raises is raised."""
        known = self._known.get(key)
        if known is not None and self._monotonic() < known[1]:
            self._known.move_to_end(key)
            return known[0]
        # Others may wait for the same answer: one who leaves must not take it from them.
        return await asyncio.shield(self._want(key))

    async def get_all(self, keys: Collection[K]) -> dict[K, V]:
        """Return what belongs to these keys; those to which nothing belongs are left out."""
        found: dict[K, V] = {}
        for key in keys:
            value = await self.get(key) if self._fresh(key) else None
            if value is not None:
                found[key] = value
        missing = [key for key in keys if key not in found]
        answers = await asyncio.gather(*map(self.get, missing))
        return found | {key: answer for key, answer in zip(missing, answers, strict=True) if answer is not None}

    async def aclose(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _fresh(self, key: K) -> bool:
        known = self._known.get(key)
        return known is not None and self._monotonic() < known[1]

    def _want(self, key: K) -> "asyncio.Future[V | None]":
        wanted = self._wanted.get(key)
        if wanted is None:
            wanted = self._wanted[key] = asyncio.get_running_loop().create_future()
            if self._asking is None or self._asking.done():
                # In a context of its own: the deadline of one who asks is not that of the others.
                self._asking = asyncio.get_running_loop().create_task(self._ask(), context=Context())
        return wanted

    async def _ask(self) -> None:
        while self._wanted:
            keys = list(self._wanted)[: self._at_once]
            asked = {key: self._wanted.pop(key) for key in keys}
            try:
                answers = await self._load(keys)
            except Exception as error:  # noqa: BLE001 - whoever waits is told of it
                for future in asked.values():
                    future.set_exception(error)
                    future.exception()  # nobody may be left to hear of it
            except BaseException:
                for future in asked.values():
                    future.cancel()
                raise
            else:
                for key, future in asked.items():
                    if key in answers:
                        self._keep(key, answers[key])
                    future.set_result(answers.get(key))

    def _keep(self, key: K, value: V) -> None:
        self._known[key] = (value, self._monotonic() + self._seconds)
        self._known.move_to_end(key)
        if len(self._known) > self._at_most:
            self._known.popitem(last=False)
