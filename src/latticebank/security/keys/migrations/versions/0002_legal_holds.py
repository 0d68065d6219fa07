"""Legal holds: while one stands, no key of the customer is destroyed.

A hold is placed and lifted once, and stays as history. What was destroyed before stays destroyed, whatever an old copy of
the database says of holds: a destruction that only completes an earlier one says so by its reason, and passes.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_HOLDS = """
CREATE TABLE legal_holds (
    book        integer     NOT NULL CHECK (book > 0),
    id          uuid        NOT NULL,
    owner       text        NOT NULL CHECK (owner ~ '^customer:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
    reason      text        NOT NULL CHECK (reason IN ('court-order', 'investigation', 'dispute', 'tax-audit', 'error')),
    placed_at   timestamptz NOT NULL,
    placed_by   text        NOT NULL CHECK (placed_by ~ '^[A-Za-z]{1,20}:[A-Za-z0-9-]{1,40}$'),
    lifted_at   timestamptz CHECK (lifted_at >= placed_at),
    lifted_by   text        CHECK (lifted_by ~ '^[A-Za-z]{1,20}:[A-Za-z0-9-]{1,40}$'),
    PRIMARY KEY (book, id),
    CONSTRAINT lifted_by_somebody CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE UNIQUE INDEX one_standing_hold ON legal_holds (book, owner, reason) WHERE lifted_at IS NULL;
CREATE INDEX legal_holds_of_owner ON legal_holds (book, owner, placed_at);
COMMENT ON TABLE legal_holds IS 'Why keys of customers may not be destroyed; whoever lifts the last of them frees the keys';
CREATE INDEX destroyed_keys ON keys (book, owner) WHERE state = 6;

CREATE FUNCTION refuse_change_of_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.lifted_at IS NOT NULL OR NEW.lifted_at IS NULL
       OR (NEW.book, NEW.id, NEW.owner, NEW.reason, NEW.placed_at, NEW.placed_by)
       IS DISTINCT FROM (OLD.book, OLD.id, OLD.owner, OLD.reason, OLD.placed_at, OLD.placed_by)
    THEN
        RAISE EXCEPTION 'a hold is lifted, once, and nothing else' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_lifted BEFORE UPDATE OR DELETE ON legal_holds
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_hold();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON legal_holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

CREATE FUNCTION refuse_destruction_of_held_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM legal_holds WHERE book = NEW.book AND owner = NEW.owner AND lifted_at IS NULL)
       AND NOT EXISTS (
           SELECT FROM key_history WHERE (book, key, number) = (NEW.book, NEW.id, NEW.changes)
           AND reason IN ('destroyed-before', 'destroyed-in-the-backup'))
    THEN
        RAISE EXCEPTION 'a legal hold stands over the keys of %', NEW.owner USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER held_keys_stay AFTER UPDATE OF state ON keys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 6 AND OLD.state <> 6) EXECUTE FUNCTION refuse_destruction_of_held_key();
"""


def upgrade() -> None:
    """Create the table of legal holds and what keeps to them."""
    op.execute(_HOLDS)
