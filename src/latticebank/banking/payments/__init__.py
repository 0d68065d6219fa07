"""Payments: what customers and tellers tell the bank by the signature of a device, from receipt to its final state.

Owns the signed instructions, the payments made of them, the batches, the limits' counters and the decisions on payments
that are held. Port 8003, database `payments`. Publishes `latticebank.payments.payments-settled.v1`. Money itself moves
in the ledger; who signs, and with which key, identity knows; the keys of what is stored sealed lie with keys.
"""
