"""The event bus: streams of events with gapless offsets, and how far their consumers are."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE topics (
            book         integer NOT NULL CHECK (book > 0),
            topic        text    NOT NULL CHECK (length(topic) BETWEEN 1 AND 100),
            first_offset bigint  NOT NULL DEFAULT 1 CHECK (first_offset >= 1),
            next_offset  bigint  NOT NULL DEFAULT 1 CHECK (next_offset >= first_offset),
            PRIMARY KEY (book, topic)
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE TABLE events (
            book              integer     NOT NULL,
            topic             text        NOT NULL,
            "offset"          bigint      NOT NULL CHECK ("offset" >= 1),
            id                uuid        NOT NULL,
            appended_at       timestamptz NOT NULL DEFAULT now(),
            source            text        NOT NULL,
            type              text        NOT NULL,
            time              timestamptz NOT NULL,
            subject           text        NOT NULL,
            partition_key     text        NOT NULL,
            causation_id      text        NOT NULL,
            data_content_type text        NOT NULL,
            data              bytea       NOT NULL CHECK (octet_length(data) <= 1000000),
            PRIMARY KEY (book, topic, "offset"),
            CONSTRAINT events_said_once UNIQUE (book, topic, id)
        )
    """)
    # Compressing half a megabyte costs more than it saves; consumers read it whole.
    op.execute("ALTER TABLE events ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("""
        CREATE TABLE consumers (
            book        integer     NOT NULL,
            topic       text        NOT NULL,
            consumer    text        NOT NULL CHECK (length(consumer) BETWEEN 1 AND 100),
            "offset"    bigint      NOT NULL CHECK ("offset" >= 0),
            reported_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (book, topic, consumer)
        ) WITH (fillfactor = 50)
    """)
    guard_what_was_said()


def guard_what_was_said() -> None:
    op.execute("""
        CREATE FUNCTION refuse_change_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'an event that was said is never changed';
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER never_changed BEFORE UPDATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_event()
    """)
    op.execute("""
        CREATE FUNCTION refuse_offsets_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.next_offset < OLD.next_offset OR NEW.first_offset < OLD.first_offset THEN
                RAISE EXCEPTION 'the offsets of a topic never go back';
            END IF;
            RETURN NEW;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER never_back BEFORE UPDATE ON topics
        FOR EACH ROW EXECUTE FUNCTION refuse_offsets_going_back()
    """)


def downgrade() -> None:
    op.execute("DROP TABLE events, topics, consumers")
    op.execute("DROP FUNCTION refuse_change_of_event, refuse_offsets_going_back")
