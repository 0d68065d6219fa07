"""The revisions of the payments' database."""

from latticebank.kernel.migrations import service_tables

PAYMENTS_TABLES = service_tables("payments", __file__)
