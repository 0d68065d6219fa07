"""The ledger: accounts, balances, entries; the only service that moves money.

Owns accounts with their owners and mandates as references, transfers and their two entries, reservations, and the
journal that makes the record tamper-evident. Port 8002; database `ledger`; publishes `batch-recorded`, consumes
nothing.

The line that posts money is `_move` in `model/posting.py`; `model/decide.py` decides a batch, `writer.py` takes it
through the database, `store/write.py` writes it.
"""
