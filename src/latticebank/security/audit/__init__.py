"""Audit: the public log of everything that the bank did, and the sealed openings of its leaves.

Owns the Merkle tree (RFC 6962, in tiles), the published checkpoints with their cosignatures, and for each leaf the salt
and the record that it commits to, sealed under the records key of whom it is about. Port 8009; database `audit`; calls
keys and witnesses; consumes the events of every service, publishes those of `events`.
"""
