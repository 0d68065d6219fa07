"""The revisions of identity's database."""

from latticebank.kernel.migrations import service_tables

IDENTITY_TABLES = service_tables("identity", __file__)
