"""What became of the payments of a run: counts, and how long they took."""

from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median

_REMEMBERED = 10_000


@dataclass
class Tally:
    """Counts of a run. `refused` and `failed` are by code, `given_up` are payments that the rate left no time for.

    A payment of a batch counts like any other. `seconds` is how long the run has paid.
    """

    wished: float
    paid: int = 0
    held: int = 0
    approved: int = 0
    rejected: int = 0
    batches: int = 0
    deposits: int = 0
    given_up: int = 0
    orders: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED), repr=False)

    def answered(self, seconds: float) -> None:
        """Count an order that the bank answered after so many seconds."""
        self.orders += 1
        self._latencies.append(seconds)

    @property
    def rate(self) -> float:
        """Answered orders a second."""
        return self.orders / self.seconds if self.seconds else 0.0

    @property
    def p50_milliseconds(self) -> float:
        """How long half of the last orders took at most, from the signature to the answer."""
        return 1_000 * median(self._latencies) if self._latencies else 0.0

    def line(self) -> str:
        """Return how things stand, in one line."""
        return (
            f"{self.paid:,} paid, {self.refused.total():,} refused, {self.held:,} held, {self.failed.total():,} failed, "
            f"{self.rate:.1f}/s of {self.wished:g}/s, p50 {self.p50_milliseconds:.0f} ms"
        )

    def summary(self) -> dict[str, object]:
        """Return everything by name."""
        return {
            "seconds": round(self.seconds, 1),
            "wished_per_second": self.wished,
            "orders": self.orders,
            "orders_per_second": round(self.rate, 2),
            "orders_given_up": self.given_up,
            "p50_milliseconds": round(self.p50_milliseconds, 1),
            "paid": self.paid,
            "held": self.held,
            "approved": self.approved,
            "rejected": self.rejected,
            "batches": self.batches,
            "deposits": self.deposits,
            "refused": dict(self.refused.most_common()),
            "failed": dict(self.failed.most_common()),
        }
