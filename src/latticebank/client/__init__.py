"""The bank from outside: a wallet with the keys of devices, what they sign, and the calls.

ids = Uuid7Source(SystemClock())
async with bank_at("http://localhost:8000") as bank:
    ada = Signatory((await bank.security_info()).bank, Device.new(ids), SystemClock(), ids)
    await bank.register(user=(user := ids()), email="ada@example.org", password="four quite unrelated words",
                        full_name="Ada Lovelace", phone="+442071838750", device_name="laptop",
                        enrolment=ada.enrolment(user))
    await bank.login("ada@example.org", "four quite unrelated words", ada.login_proof())
    payment = ada.payment((await bank.accounts())[0].account, Payee("1000000110", "Grocer", "12.34", "EUR"))
    paid = await bank.transfer(payment)
"""

from latticebank.client.bank_client import BankClient, NoSession, OutcomeUnknown, bank_at
from latticebank.client.device import Device, Payee, Signatory, SignedBatch, SignedDocument
from latticebank.client.instruction import Instructed, OtherInstruction, read_instruction
from latticebank.client.private_file import CannotUseFile, OpenToOthers
from latticebank.client.receipts import NoReceiptYet
from latticebank.client.session import Session
from latticebank.client.wallet import Customer, NotInWallet, NoWallet, Wallet, WalletDamaged
from latticebank.kernel.client import RemoteProblem
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

__all__ = [
    "BankClient",
    "CannotUseFile",
    "Customer",
    "Device",
    "Instructed",
    "NoReceiptYet",
    "NoSession",
    "NoWallet",
    "NotInWallet",
    "OpenToOthers",
    "OtherInstruction",
    "OutcomeUnknown",
    "Payee",
    "RemoteProblem",
    "Session",
    "Signatory",
    "SignedBatch",
    "SignedDocument",
    "SystemClock",
    "Uuid7Source",
    "Wallet",
    "WalletDamaged",
    "bank_at",
    "read_instruction",
]
