"""Records of the ledger that were told twice: a ledger that was set back gives its numbers again."""

from alembic import op

revision = "0002"
down_revision = "0001"

_OVERLAPS = """
CREATE TABLE told_again (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    first_seq       bigint      NOT NULL,
    next_seq        bigint      NOT NULL CHECK (next_seq > first_seq),
    found_at        timestamptz NOT NULL,
    PRIMARY KEY (book, shard, first_seq)
);
COMMENT ON TABLE told_again IS 'Records of the ledger that were heard of more than once, by different events';
"""


def upgrade() -> None:
    """Create the table of overlaps."""
    op.execute(_OVERLAPS)
