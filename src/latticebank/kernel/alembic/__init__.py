"""The revisions of the tables that the kernel keeps, and how Alembic is entered."""
