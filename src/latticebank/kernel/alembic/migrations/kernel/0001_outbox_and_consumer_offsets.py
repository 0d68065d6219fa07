"""The outbox of a service, and the places of its consumers."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE outbox (
            book        integer     NOT NULL CHECK (book > 0),
            shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 89),
            id          uuid        NOT NULL DEFAULT uuidv7(),
            created_at  timestamptz NOT NULL DEFAULT now(),
            event_count smallint    NOT NULL CHECK (event_count BETWEEN 1 AND 1000),
            events      bytea       NOT NULL CHECK (octet_length(events) <= 8000000),
            PRIMARY KEY (book, shard, id)
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
    """)
    # Stored outside the row and uncompressed: it is read once and deleted, and compression would cost the writer.
    op.execute("ALTER TABLE outbox ALTER COLUMN events SET STORAGE EXTERNAL")
    # The relay takes the oldest of all shards first, so that a busy shard cannot starve the others.
    op.execute("CREATE INDEX outbox_drain ON outbox (book, id)")
    op.execute("""
        CREATE TABLE consumer_offsets (
            book       integer     NOT NULL CHECK (book > 0),
            consumer   text        NOT NULL CHECK (length(consumer) BETWEEN 1 AND 100),
            topic      text        NOT NULL CHECK (length(topic) BETWEEN 1 AND 100),
            "offset"   bigint      NOT NULL CHECK ("offset" >= 0),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (book, consumer, topic)
        ) WITH (fillfactor = 50)
    """)


def downgrade() -> None:
    op.execute("DROP TABLE consumer_offsets, outbox")
