"""The revisions of the ledger's database."""

from latticebank.kernel.migrations import service_tables

LEDGER_TABLES = service_tables("ledger", __file__)
