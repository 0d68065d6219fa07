"""Signed payments through the whole bank over HTTP, beside pgbench and beside what the parts would allow.

Tokens, policy, screening, events and fsync are on. The load is signed ahead of time and sent by other processes.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine, tpcb
from benchmarks.accounting import cpu_of, cpu_of_server, memory_of
from benchmarks.customers import Payer, RunningBank, bank_process, open_payees, open_payers
from benchmarks.following import seconds_behind
from benchmarks.http_load import Load, Outcome, load_process
from benchmarks.server import Server, open_server
from benchmarks.signing import Signing, sign
from benchmarks.turns import Tell
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.kernel.settings import SERVICES

ALGORITHMS = ("ML-DSA-65", "MLDSA65-Ed25519-SHA512")
_CORES = 2
_VERIFICATIONS = 300


@dataclass(frozen=True)
class Plan:
    """What is measured: payments of a run, clients, sizes of batches, numbers of bank processes, rounds."""

    payments: int
    clients: int
    sizes: tuple[int, ...]
    processes: tuple[int, ...]
    rounds: int
    payees: int
    pgbench_seconds: int


@dataclass(frozen=True)
class Variant:
    """One kind of load. `size` is the number of payments under a signature."""

    name: str
    algorithm: str
    processes: int
    size: int = 1
    poor: int = 0
    other_bank: bool = False


@dataclass
class Run:
    """What one run did: payments a second, CPU microseconds a payment of each side, latencies of requests in seconds.

    `behind` is how many seconds after the last answer everything was in the published log; CPU is counted until then.
    """

    rate: float
    postgres_us: float
    bank_us: float
    load_us: float
    behind: float
    latencies: list[float] = field(repr=False)

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of the requests stayed below."""
        ordered = sorted(self.latencies)
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bench:
    """A server, banks on it, customers in it."""

    def __init__(self, plan: Plan, server: Server, folder: Path, banks: list[RunningBank], tell: Tell) -> None:
        self._plan = plan
        self._server = server
        self._folder = folder
        self._banks = banks
        self._tell = tell
        self._payers: dict[str, list[Payer]] = {}
        self._payees: list[str] = []

    async def settle(self, data: Path) -> None:
        """Open the customers' accounts."""
        self._tell(
            f"opening {self._plan.payees:,} accounts and registering {self._plan.clients} customers of each kind"
        )
        self._payees = await open_payees(self._banks[0], data, self._plan.payees)
        for algorithm in ALGORITHMS:
            self._payers[algorithm] = await open_payers(self._banks[0], data, self._plan.clients, algorithm)
        self._server.analyze(*SERVICES)

    async def run(self, variant: Variant) -> Run:
        """Sign the load of a variant, then send it and book what that cost."""
        plan = self._plan
        banks = self._banks[: variant.processes]
        payers = self._payers[variant.algorithm]
        requests = max(1, plan.payments // len(payers) // variant.size)
        if variant.size > 1:
            payers = payers[:8]
            requests = max(1, plan.payments * 4 // len(payers) // variant.size)
        files = []
        for place in range(variant.processes):
            file = str(self._folder / f"requests-{place}")
            share = payers[place :: variant.processes]
            task = Signing(share, self._payees, requests, file, variant.size, variant.other_bank, variant.poor)
            await sign(task)
            files.append(file)
        with load_process(Load([bank.port for bank in banks], files)) as load:
            before = self._cpu(banks)
            outcome = await load.go()
            behind = seconds_behind(self._server)
            after = self._cpu(banks)
        self._insist(variant, outcome)
        count = sum(outcome.statuses.values()) * variant.size
        postgres, bank = (1e6 * (late - early) / count for late, early in zip(after, before, strict=True))
        return Run(count / outcome.seconds, postgres, bank, 1e6 * outcome.cpu / count, behind, outcome.latencies)

    def _cpu(self, banks: list[RunningBank]) -> tuple[float, float]:
        return cpu_of_server(self._server.pid), sum(cpu_of(bank.pid) for bank in banks)

    @staticmethod
    def _insist(variant: Variant, outcome: Outcome) -> None:
        """Refuse figures of payments that were not made."""
        if variant.other_bank:
            fine = set(outcome.statuses) == {422}
        elif variant.poor and variant.size == 1:
            fine = set(outcome.statuses) <= {201, 409}
        else:
            fine = all(200 <= status < 300 for status in outcome.statuses)
        if not fine:
            raise RuntimeError(f"{variant.name}: {outcome.statuses}; the first refusal: {outcome.first_refusal}")


async def measure(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Return the figures of every variant, in turns, with pgbench and the ceiling."""
    variants = list(_variants(plan))
    with _bench(plan, tell) as (bench, server, data, banks):
        facts = machine.facts(server.url("ledger"), data)
        await bench.settle(data)
        if plan.pgbench_seconds:
            tell("filling pgbench's tables")
            tpcb.prepare(server)
        runs: dict[str, list[Run]] = {variant.name: [] for variant in variants}
        pgbench: list[float] = []
        for number in range(plan.rounds):
            if plan.pgbench_seconds:
                tell(f"round {number + 1} of {plan.rounds}: pgbench")
                pgbench.append(tpcb.run(server, plan.pgbench_seconds).rate)
            start = number * len(variants) // plan.rounds
            for variant in [*variants[start:], *variants[:start]]:
                tell(f"round {number + 1} of {plan.rounds}: {variant.name}")
                runs[variant.name].append(await bench.run(variant))
        memory = [
            {"process": f"bank {place + 1}", "rss": used.rss, "own": used.own, "peak": used.peak}
            for place, used in enumerate(memory_of(bank.pid) for bank in banks)
        ]
    yardstick = median(pgbench) if pgbench else None
    rows = [_row(variant, runs[variant.name], yardstick) for variant in variants]
    if yardstick is not None:
        rows.append({"variant": "pgbench TPC-B, 8 clients", "rate": round(yardstick)})
    return {"machine": facts, "rows": rows, "memory": memory, "ceiling": _ceilings(runs, tell)}


def _variants(plan: Plan) -> Iterator[Variant]:
    for processes in plan.processes:
        apart = f"{processes} process{'es' if processes > 1 else ''}"
        for algorithm in ALGORITHMS:
            yield Variant(f"single, {algorithm}, {apart}", algorithm, processes)
        for size in plan.sizes:
            yield Variant(f"signed batches of {size:,}, {apart}", ALGORITHMS[1], processes, size)
        if processes == 1:
            largest = max(plan.sizes)
            poor = f"signed batches of {largest:,}, 1 % refused, {apart}"
            yield Variant(poor, ALGORITHMS[1], processes, largest, poor=100)
            yield Variant("refused before verification", ALGORITHMS[0], processes, other_bank=True)


def _row(variant: Variant, runs: list[Run], yardstick: float | None) -> dict[str, Any]:
    rate = median(run.rate for run in runs)
    row: dict[str, Any] = {
        "variant": variant.name,
        "rate": round(rate),
        "slowest": round(min(run.rate for run in runs)),
        "quickest": round(max(run.rate for run in runs)),
        "postgres_us": round(median(run.postgres_us for run in runs), 1),
        "server_us": round(median(run.bank_us for run in runs), 1),
        "client_us": round(median(run.load_us for run in runs), 1),
        "p50_ms": round(median(run.percentile(0.5) for run in runs), 1),
        "p99_ms": round(median(run.percentile(0.99) for run in runs), 1),
        "log_behind_s": round(median(run.behind for run in runs), 2),
    }
    if yardstick is not None:
        row["to_pgbench"] = round(rate / yardstick, 2)
    return row


def _ceilings(runs: dict[str, list[Run]], tell: Tell) -> dict[str, Any]:
    """Return what two cores could do if a payment cost no more than its parts, each measured in this very run."""
    tell("timing verifications")
    request = median(run.bank_us for name, each in runs.items() if name.startswith("refused before") for run in each)
    batched = [
        run.postgres_us + run.bank_us
        for name, each in runs.items()
        if name.startswith("signed batches") and "1 process" in name and "refused" not in name
        for run in each
    ]
    ceilings: dict[str, Any] = {"request_us": round(request, 1), "batched_us": round(min(batched), 1)}
    for algorithm in ALGORITHMS:
        verify = _verification_us(algorithm)
        rate = _CORES * 1e6 / (verify + request + min(batched))
        ceilings[algorithm] = {"verify_us": round(verify, 1), "rate": round(rate)}
    return ceilings


def _verification_us(algorithm: str) -> float:
    key = SigningKey.generate(algorithm)
    message, context = b"x" * 400, b"latticebank/payment/v1"
    signature = key.sign(message, context)
    public = VerifyingKey(algorithm, key.public_bytes)
    began = time.process_time()
    for _ in range(_VERIFICATIONS):
        public.verify(signature, message, context)
    return 1e6 * (time.process_time() - began) / _VERIFICATIONS


@contextmanager
def _bench(plan: Plan, tell: Tell) -> Iterator[tuple[Bench, Server, Path, list[RunningBank]]]:
    with ExitStack() as closing:
        server = closing.enter_context(open_server(None))
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="latticebank-signed-")))
        data = folder / "bank"
        banks = []
        for place in range(max(plan.processes)):
            tell(f"starting bank process {place + 1}")
            banks.append(closing.enter_context(bank_process(server, data)))
        yield Bench(plan, server, folder, banks, tell), server, data, banks
