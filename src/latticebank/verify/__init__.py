"""Checks the bank's word offline: receipts, checkpoints and downloaded logs, against keys that the reader trusts.

A second, independent implementation on purpose: it uses nothing of the rest of the bank, so that no fault of the bank's
own code hides itself. It needs Python and the package `cryptography`, and no network. Read it in this order:

    strict       one meaning for each text         merkle       a tree of hashes, and what is in it
    signatures   whether a key signed              checkpoint   whom the reader trusts, and what a log signed
    records      what a leaf commits to            receipt      one payment: here the reader of a receipt is done
    log          every leaf of a downloaded log    openings     whether its opened entries fit each other
    consistency  whether a log was rewritten       command      `latticebank verify`
"""
