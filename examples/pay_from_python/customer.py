"""A customer of the bank in a program: joins, pays, and keeps the receipt.

    python customer.py join E-MAIL
    python customer.py pay E-MAIL ACCOUNT AMOUNT NAME RECEIPT

The key is made here, lies in the wallet `customer.wallet` under a passphrase, and never leaves this machine.
"""

import asyncio
import os
import sys
from pathlib import Path

from latticebank.client import Customer, Device, Payee, Signatory, SystemClock, Uuid7Source, Wallet, bank_at

ADDRESS = os.environ.get("LATTICEBANK_CLIENT_ADDRESS", "http://localhost:8000")
PASSWORD = os.environ["LATTICEBANK_CLIENT_PASSWORD"]
PASSPHRASE = os.environ["LATTICEBANK_CLIENT_PASSPHRASE"]
CLOCK = SystemClock()
IDS = Uuid7Source(CLOCK)


async def join(email: str) -> None:
    """Become a customer: the device signs its own enrolment."""
    wallet = Wallet.open_or_new(Path("customer.wallet"), PASSPHRASE)
    async with bank_at(ADDRESS) as bank:
        name = (await bank.security_info()).bank
        customer = Customer(name, ADDRESS, IDS(), Device.new(IDS), email)
        wallet.keep(customer)  # the key is safe before the bank hears of it
        signs = Signatory(name, customer.device, CLOCK, IDS)
        await bank.register(
            user=customer.user, email=email, password=PASSWORD, full_name="Nell Example", phone="+12025550199",
            device_name="a program", enrolment=signs.enrolment(customer.user),
        )  # fmt: skip
        await bank.login(email, PASSWORD, signs.login_proof())
        print("account", (await bank.accounts())[0].account)


async def pay(email: str, account: str, amount: str, name: str) -> bytes:
    """Sign a payment and send it; then wait for the receipt that proves it to anybody, and return it."""
    customer = Wallet.open(Path("customer.wallet"), PASSPHRASE).customer(email)
    signs = Signatory(customer.bank, customer.device, CLOCK, IDS)
    async with bank_at(customer.address) as bank:
        await bank.login(email, PASSWORD, signs.login_proof())
        own = (await bank.accounts())[0]
        signed = signs.payment(own.account, Payee(account, name, amount, own.currency))
        paid = await bank.settled((await bank.transfer(signed)).id)
        print("payment", paid.id, paid.state)
        return await bank.receipt(paid.id)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["join", email]:
            asyncio.run(join(email))
        case ["pay", email, account, amount, name, receipt]:
            Path(receipt).write_bytes(asyncio.run(pay(email, account, amount, name)))
        case _:
            sys.exit(__doc__)
