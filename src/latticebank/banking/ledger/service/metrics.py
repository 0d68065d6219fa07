"""What an operator sees of the ledger's writers in Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from latticebank.kernel.telemetry import LATENCIES

_SIZES = (1, 10, 50, 100, 500, 1_000, 2_000, 4_000, 8_192)


class WriterMetrics:
    """Batches by their size and time, commands by their outcome, and how many wait."""

    def __init__(self, registry: CollectorRegistry) -> None:
        shard = ("shard",)
        self.commands = Counter(
            "latticebank_ledger_commands", "Commands recorded, done or refused.", (*shard, "outcome"), registry=registry
        )
        self.batch_size = Histogram(
            "latticebank_ledger_batch_commands",
            "Commands in a batch of the writer.",
            shard,
            buckets=_SIZES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "latticebank_ledger_batch_seconds",
            "Time from taking a batch to its commit.",
            shard,
            buckets=LATENCIES,
            registry=registry,
        )
        self.retries = Counter(
            "latticebank_ledger_batch_retries", "Batches that had to be tried again.", shard, registry=registry
        )
        self.waiting = Gauge(
            "latticebank_ledger_waiting", "Commands that wait for the writer.", shard, registry=registry
        )
