"""Check a receipt without the bank: needs this package's `verify` and `cryptography`, no network and no server."""

import sys
from pathlib import Path

from latticebank.verify.checkpoint import parse_policy
from latticebank.verify.receipt import verify_receipt
from latticebank.verify.strict import Fault, Findings

receipt, policy = (Path(name) for name in sys.argv[1:])
findings = Findings(str(receipt), "receipt")
try:
    verify_receipt(receipt.read_bytes(), parse_policy(policy.read_bytes()), findings)
except Fault as fault:
    findings.faults.append(str(fault))
print(*findings.checked, *(f"FAULT {fault}" for fault in findings.faults), sep="\n")
sys.exit(1 if findings.faults else 0)
