"""Whom the operator named as the first admins, for good: every right is traced back to them.

What stands in `rights` goes when a right is withdrawn; what was given while it stood must still be proved afterwards.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_FIRST_ADMINS = """
CREATE TABLE first_admins (
    book            integer     NOT NULL,
    user_id         uuid        NOT NULL,
    named_at        timestamptz NOT NULL,
    PRIMARY KEY (book, user_id, named_at),
    FOREIGN KEY (book, user_id) REFERENCES users (book, id)
);
INSERT INTO first_admins (book, user_id, named_at)
    SELECT book, user_id, granted_at FROM rights WHERE name = 'admin' AND proposal IS NULL;

CREATE FUNCTION refuse_change_of_first_admin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'whom the operator named is evidence: it is never changed';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON first_admins
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_first_admin();
"""


def upgrade() -> None:
    """Create the table, with those who are still admins by the operator's word."""
    op.execute(_FIRST_ADMINS)
