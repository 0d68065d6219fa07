"""Which event a consumer has handled last, so that a bus that was set back and has gone on since is told from its old self."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE consumer_offsets ADD COLUMN event uuid")
    op.execute("""
        COMMENT ON COLUMN consumer_offsets.event IS
            'The id of the event at this offset; null before the first, or where it is not known'
    """)
    # An older version of the bank moves the offset alone while a newer one may run beside it: its id is of another event.
    op.execute("""
        CREATE FUNCTION forget_event_of_another_offset() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.event := NULL;
            RETURN NEW;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER of_this_offset BEFORE UPDATE ON consumer_offsets
        FOR EACH ROW WHEN (NEW."offset" <> OLD."offset" AND NEW.event = OLD.event)
        EXECUTE FUNCTION forget_event_of_another_offset()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER of_this_offset ON consumer_offsets")
    op.execute("DROP FUNCTION forget_event_of_another_offset")
    op.execute("ALTER TABLE consumer_offsets DROP COLUMN event")
