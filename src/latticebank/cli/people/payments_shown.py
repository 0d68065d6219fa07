"""How payments are shown: a sentence for what became of one, tables for many."""

from datetime import datetime
from pathlib import Path

import typer

from latticebank.banking.payments.wire import BatchView, PaymentPage, PaymentView, StateWord
from latticebank.cli.console import err, out, this_command, write_json, write_table
from latticebank.client import Instructed
from latticebank.client.payment_file import PaymentFile

_HOLD_REASONS = {
    "over-threshold": "it is large",
    "fifth-high-value": "it is one of many large ones within a day",
}


def tell_payment(view: PaymentView, *, as_json: bool, expected: StateWord = "posted") -> None:
    """Say what became of a payment; leave with 1 if it was refused, unless that was expected."""
    if as_json:
        write_json(view)
    else:
        out.print(outcome(view), markup=False, soft_wrap=True)
    if view.state in ("rejected", "failed") and view.state != expected:
        raise typer.Exit(1)


def show_payment(view: PaymentView, *, as_json: bool) -> None:
    """Show all of a payment."""
    if as_json:
        write_json(view)
        return
    out.print(outcome(view), markup=False, soft_wrap=True)
    rows = [
        ("from", view.debtor_account),
        ("to", f"{view.creditor_account}  {view.creditor_name}"),
        ("reference", view.reference),
        ("received", _minute(view.received_at)),
        ("final", _minute(view.final_at)),
        ("booked", view.booking_date.isoformat() if view.booking_date else ""),
        ("device", str(view.device)),
        ("batch", str(view.batch or "")),
        ("signed text", f"SHA-256 {view.instruction_hash}"),
    ]
    write_table([("", "left"), ("", "left")], [row for row in rows if row[1]])


def tell_page(page: PaymentPage, *, as_json: bool) -> None:
    """Show payments in a table."""
    if as_json:
        write_json(page.items)
        return
    columns = [("received", "left"), ("state", "left"), ("amount", "right"), ("", "left"), ("from", "left"),
               ("to", "left"), ("name", "left"), ("reference", "left"), ("payment", "left")]  # fmt: skip
    write_table(
        columns,
        (
            [_minute(each.received_at), _state(each), each.amount, each.currency, each.debtor_account,
             each.creditor_account, each.creditor_name, each.reference, str(each.id)]
            for each in page.items
        ),
    )  # fmt: skip
    if page.next_cursor is not None:
        err.print("There are more; a higher --limit shows them.", markup=False)


def tell_batch(view: BatchView, file: PaymentFile, *, as_json: bool) -> None:
    """Say what became of a batch and of each payment that was not posted; leave with 1 if any was rejected."""
    if as_json:
        write_json(view)
    elif view.state == "received":
        out.print(f"The bank has received batch {view.id} and goes on with it.", markup=False)
    else:
        out.print(f"Batch {view.id}: {view.posted} paid, {view.awaiting_approval} waiting, {view.rejected} rejected.")
        _tell_unpaid(view, file.path, file.lines)
    if view.rejected:
        raise typer.Exit(1)


def outcome(view: PaymentView) -> str:
    """Return the sentence that says how a payment stands."""
    what = f"{view.amount} {view.currency} to {view.creditor_name or view.creditor_account}"
    match view.state:
        case "posted":
            return f"Paid: {what}. Payment {view.id}."
        case "awaiting_approval":
            why = _HOLD_REASONS.get(view.hold_reason or "", "the bank looks at it")
            until = f" until {_minute(view.approval_expires_at)}" if view.approval_expires_at else ""
            return f"Held: {what}. It waits for a manager{until}, since {why}. Payment {view.id}."
        case "received":
            later = f"`{this_command()} payment {view.id}` tells what became of it"
            return f"Received: {what}. The bank goes on with it; {later}."
        case "cancelled":
            return f"Cancelled: {what}. Payment {view.id}."
        case _:
            return f"Refused: {what}. {_why(view)} Payment {view.id}."


def signed_text(signed: Instructed) -> str:
    """Return what the text says that was signed for a payment, and its hash."""
    reference = f', "{signed.reference}"' if signed.reference else ""
    return (
        f"Signed: {signed.amount} {signed.currency} from {signed.debtor_account} to {signed.creditor_account}"
        f" ({signed.payee}){reference}, by device {signed.device} at {signed.created}.\nSHA-256 {signed.hash}"
    )


def _why(view: PaymentView) -> str:
    if view.reason is None:
        return ""
    return f"{view.reason_text or view.reason} ({view.reason})."


def _tell_unpaid(view: BatchView, path: Path, lines: tuple[int, ...]) -> None:
    unpaid = [(line, answer) for line, answer in zip(lines, view.answers, strict=True) if answer.state != "posted"]
    if unpaid:
        columns = [(f"line of {path.name}", "right"), ("state", "left"), ("reason", "left"), ("payment", "left")]
        write_table(columns, ([str(line), each.state, each.reason, str(each.id)] for line, each in unpaid))


def _state(view: PaymentView) -> str:
    return view.state.replace("_", " ") if view.reason is None else f"{view.state}: {view.reason}"


def _minute(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
