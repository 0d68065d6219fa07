"""The records of a shard can be read in order, page by page, without sorting all of them each time.

Records are written in the order of their numbers, so an index over ranges of pages (BRIN) finds them: some kilobytes
for millions of rows, where a tree would cost every transfer an entry of its own.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_INDEX = """
CREATE INDEX transfers_in_order ON transfers USING brin (book, shard, seq) WITH (autosummarize = on);
"""


def upgrade() -> None:
    """Create the index."""
    op.execute(_INDEX)
