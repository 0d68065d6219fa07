"""The command line of the benchmarks."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from benchmarks import books, report
from benchmarks import large as large_bank
from benchmarks import ledger as ledger_alone
from benchmarks import log as tree_of_the_log
from benchmarks import signed as signed_payments

app = typer.Typer(help=__import__("benchmarks").__doc__, no_args_is_help=True, add_completion=False)


@app.command()
def large(
    folder: Annotated[Path, typer.Option(help="Where the bank is built; 10M transfers took 17 GB.")],
    accounts: Annotated[int, typer.Option(min=2, help="How many accounts.")] = 1_000_000,
    transfers: Annotated[int, typer.Option(min=0, help="How many transfers between them.")] = 10_000_000,
) -> None:
    """Build a large bank through the ledger's writer. Interrupted in any way, the same command goes on."""
    large_bank.build(folder, large_bank.Size(accounts, transfers))


@app.command()
def ledger(
    accounts: Annotated[int, typer.Option(min=2, help="How many accounts the bank has at least.")] = 10_000,
    sizes: Annotated[str, typer.Option(help="Sizes of batches.")] = "1,100,1000,8000",
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs, in turns.")] = 5,
    processes: Annotated[str, typer.Option(help="1: one writer; 2: two, on one shard and on two.")] = "1,2",
    rates: Annotated[str, typer.Option(help="Rates of the open loop, per second; empty for none.")] = "1000,5000,15000",
    transfers: Annotated[int, typer.Option(min=1, help="The most transfers of one run.")] = ledger_alone.TRANSFERS,
    pgbench_seconds: Annotated[int, typer.Option(min=0, help="How long pgbench runs each round; 0 leaves it out.")] = 4,
    streamed: Annotated[int, typer.Option(min=0, help="Transfers under which memory is looked at; 0: not.")] = 400_000,
    folder: Annotated[Path | None, typer.Option(help="A bank that `large` built; else a new one.")] = None,
    archive: Annotated[Path | None, typer.Option(help="A new folder: every commit goes to an archive there.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything into this file as well.")] = None,
) -> None:
    """Measure the ledger's writer beside pgbench TPC-B on the same server."""
    plan = ledger_alone.Plan(
        accounts=accounts,
        sizes=_numbers(sizes),
        rounds=rounds,
        processes=_numbers(processes),
        rates=_numbers(rates),
        transfers=transfers,
        streamed=streamed,
        pgbench_seconds=pgbench_seconds,
    )
    report.write(uvloop.run(ledger_alone.measure(plan, folder, report.tell, archive)), json)


@app.command("import")
def import_books(
    rows: Annotated[int, typer.Option(min=1, help="How many rows the made-up history has.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often it is imported each way, in turns.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write everything into this file as well.")] = None,
) -> None:
    """Measure the import of a CSV, reconciled: with the ledger in the same process, and with a bank apart over HTTP."""
    report.write(uvloop.run(books.measure(rows, rounds, report.tell)), json)


@app.command()
def signed(
    payments: Annotated[int, typer.Option(min=64, help="Signed transfers of one run.")] = 6_400,
    clients: Annotated[int, typer.Option(min=2, help="Customers who pay at once.")] = 64,
    sizes: Annotated[str, typer.Option(help="Payments under one signature, of the signed batches.")] = "100,1000",
    processes: Annotated[str, typer.Option(help="Numbers of bank processes.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs, in turns.")] = 3,
    payees: Annotated[int, typer.Option(min=1, help="Accounts that are paid.")] = 10_000,
    pgbench_seconds: Annotated[int, typer.Option(min=0, help="How long pgbench runs each round; 0 leaves it out.")] = 4,
    json: Annotated[Path | None, typer.Option(help="Write everything into this file as well.")] = None,
) -> None:
    """Measure signed payments through the whole bank over HTTP: one a request, and in signed batches."""
    plan = signed_payments.Plan(
        payments=payments,
        clients=clients,
        sizes=_numbers(sizes),
        processes=_numbers(processes),
        rounds=rounds,
        payees=payees,
        pgbench_seconds=pgbench_seconds,
    )
    report.write(uvloop.run(signed_payments.measure(plan, report.tell)), json)


@app.command()
def log(
    leaves: Annotated[int, typer.Option(min=1, help="How many leaves the tree gets; 10M took some 2 GB.")] = 10_000_000,
    at_once: Annotated[int, typer.Option(min=1, help="Leaves of one transaction.")] = 8_000,
    proofs: Annotated[int, typer.Option(min=2, help="Proofs timed at each size.")] = 2_000,
    json: Annotated[Path | None, typer.Option(help="Write everything into this file as well.")] = None,
) -> None:
    """Measure the tree of the log: leaves a second as it grows, and the time of an inclusion proof at each size."""
    report.write(uvloop.run(tree_of_the_log.measure(tree_of_the_log.Plan(leaves, at_once, proofs), report.tell)), json)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",") if word)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers like 1,100,1000") from None


@app.callback()
def benchmarks() -> None:
    """Side-by-side measurements of the bank."""
