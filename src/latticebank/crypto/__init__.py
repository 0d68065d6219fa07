"""Signatures, seals, fields at rest, passwords, canonical JSON, Merkle trees, tokens: pure; the room that names algorithms."""
