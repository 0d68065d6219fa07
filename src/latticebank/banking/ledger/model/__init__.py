"""The concepts and rules of the ledger: pure, without a database, a clock or a request.

`accounts` and `transfers` are the nouns, `decide` is the rule that moves money, `journal` makes its record
tamper-evident.
"""
