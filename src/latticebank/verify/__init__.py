"""Checks the bank's word offline: receipts, checkpoints and downloaded logs, against keys that the reader trusts.

A second, independent implementation on purpose: it uses nothing of the rest of the bank, so that no fault of the bank's
own code hides itself. It needs Python and the package `cryptography`, and no network. Read it in this order:

    strict       one meaning for each text
    merkle       trees and proofs                  signatures   who signed what
    notes        signed notes and their keys       policy       whom the reader trusts
    checkpoint   what a log signed                 records      what a leaf commits to
    papers       what people signed                receipt      one payment
    log          every leaf of a downloaded log    history      whether its opened entries fit each other
    command      `latticebank verify`              findings     what is told
"""
