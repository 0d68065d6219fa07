"""The revisions of the audit's database."""

from latticebank.kernel.migrations import service_tables

AUDIT_TABLES = service_tables("audit", __file__)
