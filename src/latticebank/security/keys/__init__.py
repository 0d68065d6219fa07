"""The keys of the bank: those of its services and those of its customers, each wrapped by the one above it.

Owns the tree of keys (the KEK -> keys of services -> for each customer a profile key and a records key), their states
of NIST SP 800-57 and the history of every change, and the legal holds under which nothing is destroyed. Port 8006;
database `keys`; publishes the events of `events`, consumes nothing.

The KEK lies in a file outside of the database (`service/kek.py`), and so do the tombstones of what was destroyed
(`service/tombstones.py`); `service/wrapping.py` puts keys into their wrappings and takes them out; `service/backup.py`
copies the tree apart from the data.
"""
