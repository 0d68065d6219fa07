"""`latticebank ledger check`: whether the books are sound, fit the public log, and every customer's debit was signed for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from msgspec import Struct

from latticebank.bank import compose, open_context
from latticebank.banking.ledger.model.logged import LoggedBatch
from latticebank.banking.ledger.service.logged import HeldAgainstLog
from latticebank.banking.ledger.service.proof import Proof, prove
from latticebank.banking.ledger.store.proof import Invariant
from latticebank.banking.payments.service.evidence import SignatureReport, check_signatures
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.cli.batches_logged import batches_logged
from latticebank.cli.console import Steps, err, out, write_json
from latticebank.cli.opening import bank_databases, settings_here
from latticebank.kernel.database import Database
from latticebank.kernel.settings import Settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.verify.strict import Fault

_NEIGHBOURS = ("keys", "identity", "ledger")
"""What the check of signatures asks: for keys, for devices, for debits."""

ledger = typer.Typer(help="Look after the ledger itself.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(ledger, name="ledger")


class _Found(Struct, frozen=True):
    """What a check found, for programs."""

    books: Proof
    signatures: SignatureReport | None


@ledger.command("check")
def check(
    signatures: Annotated[
        bool, typer.Option("--signatures", help="Also verify again what customers and tellers signed.")
    ] = False,
    openings: Annotated[
        Path | None,
        typer.Option(help="Also hold the journal against these openings of the log, a file of `latticebank log open`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Prove the books: every transfer sums to zero, every balance equals its entries, the journal fits every record.

    With --signatures every debit of a customer is proved from the bytes that were signed: device, signature, parties and
    amount, and the rights of tellers, managers and mandates, up to the admins whom the operator named; these are shown, and
    they are yours to know. That needs the key of keys: LATTICEBANK_KEK_PASSPHRASE.

    With --openings each batch of which an opened entry of the public log tells must be in the journal, with the same records
    and the same link: so a journal that was rewritten as a whole is found too. Whether the log holds these openings is for
    `latticebank verify LOG --openings FILE`.

    For example:

        latticebank ledger check
        latticebank ledger check --signatures --json
        latticebank ledger check --openings openings.jsonl
    """
    configure_logs(level="warning")
    settings = settings_here()
    steps = Steps()
    services = (*_NEIGHBOURS, "payments") if signatures else ("ledger",)
    report: SignatureReport | None = None
    logged = None if openings is None else batches_logged(openings, settings.bank)
    try:
        with steps.shown(), bank_databases(settings, services, steps) as urls:
            proof = uvloop.run(_prove(settings, urls["ledger"], steps, logged))
            if signatures:
                report = uvloop.run(_check_signatures(settings, urls, steps))
            steps.done()
    except Fault as fault:  # what it quotes may hold what a terminal takes for more than letters
        raise typer.BadParameter(str(fault).encode("unicode_escape").decode(), param_hint="--openings") from None
    if as_json:
        write_json(_Found(proof, report) if signatures else proof)
    else:
        _tell_proof(proof)
        if report is not None:
            _tell_signatures(report)
    if not proof.sound or (report is not None and not report.sound):
        raise typer.Exit(1)


async def _prove(settings: Settings, url: str, steps: Steps, logged: Iterator[LoggedBatch] | None) -> Proof:
    def told(invariant: Invariant) -> None:
        steps(f"Checking that {invariant.promise}")

    database = Database(url, application_name="latticebank-check", book=settings.book, statement_seconds=0)
    try:
        return await prove(database, settings.book, told, logged)
    finally:
        await database.close()


async def _check_signatures(settings: Settings, urls: dict[str, str], steps: Steps) -> SignatureReport:
    """Verify with the bank's own services, opened here on its databases: nothing is asked of a process that runs."""

    def told(report: SignatureReport) -> None:
        steps(f"Verifying signatures: {report.checked:,} debits")

    async with open_context(settings, urls) as context:
        bank = compose(_NEIGHBOURS, context)
        async with bank.running():
            return await check_signatures(Foundation.of(bank.context), told)


def _tell_proof(proof: Proof) -> None:
    out.print(f"{proof.accounts} accounts, {proof.transfers} transfers, {proof.entries} entries")
    for name in proof.kept:
        out.print(f"  [green]holds[/]   {name}")
    if proof.log is not None:
        _tell_log(proof.log)
    for name in dict.fromkeys(finding.invariant for finding in proof.findings):
        out.print(f"  [red]broken[/]  {name}")
    for finding in proof.findings:
        err.print(f"{finding.invariant}: {finding.where}: {finding.what}", markup=False, soft_wrap=True)
    out.print("[bold green]The books are sound.[/]" if proof.sound else "[bold red]The books are not sound.[/]")


def _tell_log(found: HeldAgainstLog) -> None:
    out.print(
        f"  {found.entries} entries of the log tell of batches and were compared: {found.differences} differences"
    )
    if found.not_opened:
        out.print(
            f"  {found.not_opened} more batches stand before or between these: a later link commits to each of them"
        )
    for newest in found.beyond:
        records = f"records {newest.first_seq} to {newest.next_seq - 1} of shard {newest.shard}"
        out.print(
            f"  [yellow]not shown[/]  the newest {newest.batches} batches, {records}: they come after what is opened"
        )


def _tell_signatures(report: SignatureReport) -> None:
    classes = ", ".join(f"{count} {name}" for name, count in sorted(report.by_class.items())) or "none"
    out.print(f"{report.checked} debits of customers: {classes}", markup=False)
    if report.imported:
        out.print(f"  {report.imported} were taken over from other books, and nobody signed them")
    if report.by_mandate:
        out.print(f"  {report.by_mandate} by users who speak for a party of other books, as staff signed")
    if report.erased:
        out.print(f"  {report.erased} users have erased profiles: their first devices prove themselves")
    roots = ", ".join(map(str, report.roots)) or "nobody"
    out.print(f"Rights end at {len(report.roots)} admins named by the operator: {roots}", markup=False, soft_wrap=True)
    for finding in report.findings:
        err.print(f"{finding.transfer or 'the bank'}: {finding.fault}", markup=False, soft_wrap=True)
    if report.sound:
        out.print("[bold green]Every other debit is proved by a signature.[/]" if report.imported else
                  "[bold green]Every debit is proved by a signature.[/]")  # fmt: skip
    else:
        out.print(f"[bold red]{report.faults} faults: not every debit is proved.[/]")
