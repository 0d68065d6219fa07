"""Runs variants in turns and sums up each by its medians, so that a noisy minute hits all of them alike."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.driving import Drive

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """Something to measure. `against` names the variant whose rate its own is put beside."""

    name: str
    run: Callable[[], Awaitable[Drive]]
    size: int = 1
    outstanding: int = 1
    against: str | None = None


@dataclass
class Figures:
    """What the rounds of a variant say: medians, and the slowest and quickest rate."""

    variant: Variant
    drives: list[Drive] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Transfers a second."""
        return median(each.rate for each in self.drives)

    @property
    def postgres_us(self) -> float:
        """CPU microseconds of PostgreSQL for a transfer."""
        return median(each.postgres_us for each in self.drives)

    @property
    def client_us(self) -> float:
        """CPU microseconds of the client for a transfer."""
        return median(each.client_us for each in self.drives)

    def percentile(self, share: float) -> float:
        """The median over the rounds of a percentile of the latency; milliseconds."""
        return median(each.percentile(share) for each in self.drives)

    def as_row(self) -> dict[str, object]:
        """Return the figures by name."""
        rates = [each.rate for each in self.drives]
        return {
            "variant": self.variant.name,
            "size": self.variant.size,
            "outstanding": self.variant.outstanding,
            "transfers": sum(each.transfers for each in self.drives),
            "refused": sum(each.refused for each in self.drives),
            "rate": round(self.rate),
            "slowest": round(min(rates)),
            "quickest": round(max(rates)),
            "postgres_us": round(self.postgres_us, 2),
            "client_us": round(self.client_us, 2),
            "p50_ms": round(self.percentile(0.5), 2),
            "p99_ms": round(self.percentile(0.99), 2),
        }


async def in_turns(
    variants: Sequence[Variant], rounds: int, tell: Tell, renew: Callable[[int], Awaitable[None]]
) -> dict[str, Figures]:
    """Run every variant once a round, each round beginning with another one; `renew` is called before each."""
    figures = {variant.name: Figures(variant) for variant in variants}
    if len(figures) < len(variants):
        raise AssertionError("two variants have the same name")
    for number in range(rounds):
        await renew(number)
        start = number * len(variants) // rounds
        for variant in [*variants[start:], *variants[:start]]:
            tell(f"round {number + 1} of {rounds}: {variant.name}")
            figures[variant.name].drives.append(await variant.run())
    return figures


def rows_of(figures: dict[str, Figures], yardstick: str) -> list[dict[str, object]]:
    """Return the figures as rows, each with its rate over that of the yardstick and of what it stands against."""
    rows = []
    for each in figures.values():
        row = each.as_row()
        if yardstick in figures:
            row["to_pgbench"] = round(each.rate / figures[yardstick].rate, 2)
        if each.variant.against in figures:
            against = figures[each.variant.against]
            # Round by round, since the rounds differ more than the variants do.
            row["against"] = each.variant.against
            row["to_against"] = round(
                median(mine.rate / other.rate for mine, other in zip(each.drives, against.drives, strict=True)), 2
            )
        rows.append(row)
    return rows
