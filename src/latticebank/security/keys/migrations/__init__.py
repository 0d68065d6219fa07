"""The revisions of the keys' database."""

from latticebank.kernel.migrations import service_tables

KEYS_TABLES = service_tables("keys", __file__)
