"""What an operator sees of payments in Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from latticebank.kernel.telemetry import LATENCIES

_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 512, 1_000, 2_000, 4_000, 8_000)


class PaymentMetrics:
    """Payments by their outcome, groups by size and time, signatures that were wrong, and how many wait."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.payments = Counter(
            "latticebank_payments_settled", "Payments by what became of them.", ("kind", "outcome"), registry=registry
        )
        self.group_size = Histogram(
            "latticebank_payments_group", "Payments accepted together.", ("kind",), buckets=_SIZES, registry=registry
        )
        self.group_seconds = Histogram(
            "latticebank_payments_group_seconds",
            "Time from the acceptance of a group to its settlement.",
            ("kind",),
            buckets=LATENCIES,
            registry=registry,
        )
        self.bad_signatures = Counter(
            "latticebank_payments_bad_signatures", "Signatures that did not verify.", registry=registry
        )
        self.recovered = Counter(
            "latticebank_payments_recovered", "Unsettled work that was taken up again.", registry=registry
        )
        self.waiting = Gauge(
            "latticebank_payments_waiting", "Payments that wait for their group.", ("shard",), registry=registry
        )
        self.verifying = Gauge(
            "latticebank_payments_verifying", "Signatures that wait to be verified.", registry=registry
        )
