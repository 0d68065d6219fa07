"""What an operator sees of the log in Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from latticebank.kernel.telemetry import LATENCIES


class LogMetrics:
    """How large the log is, how long an event took to be published in it, and what is wrong with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.size = Gauge("latticebank_log_size", "Leaves of the log.", registry=registry)
        self.published = Gauge("latticebank_log_published_size", "Leaves that are published.", registry=registry)
        self.halted = Gauge("latticebank_log_halted", "1 while nothing is appended or signed.", registry=registry)
        self.gaps = Gauge("latticebank_log_gaps", "Gaps in what the ledger told.", registry=registry)
        self.overlaps = Gauge("latticebank_log_overlaps", "Spans of what the ledger told twice.", registry=registry)
        self.stuck = Gauge(
            "latticebank_log_stuck_topics", "Topics whose next events the bus does not have.", registry=registry
        )
        self.entries = Counter("latticebank_log_entries", "Leaves appended.", ("topic",), registry=registry)
        self.integrated = Histogram(
            "latticebank_log_integration_seconds",
            "Time from an event to its leaf.",
            buckets=LATENCIES,
            registry=registry,
        )
        self.cosignatures = Counter(
            "latticebank_log_cosignatures", "Answers of witnesses.", ("witness", "outcome"), registry=registry
        )
