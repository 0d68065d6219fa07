"""The tree of keys and the history of its changes.

No column is personal data: an owner is a service or the id of a customer, and reasons are words of a fixed list. What
`model.py` says of states the database holds as well, so that neither a slip nor an intruder with the bank's rights
brings a destroyed key back, or changes a key without a word in the history.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE FUNCTION key_may_become(present smallint, next smallint) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE present
        WHEN 1 THEN next IN (2, 5, 6)
        WHEN 2 THEN next IN (3, 4, 5, 6)
        WHEN 3 THEN next IN (2, 4, 5, 6)
        WHEN 4 THEN next IN (5, 6)
        WHEN 5 THEN next = 6
        ELSE false
    END
$$;

CREATE TABLE keys (
    book        integer     NOT NULL CHECK (book > 0),
    id          uuid        NOT NULL,
    owner       text        NOT NULL
        CHECK (owner ~ '^(service:[a-z][a-z-]{0,31}|customer:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'),
    purpose     text        NOT NULL CHECK (purpose ~ '^[a-z][a-z0-9-]{0,31}(/[a-z0-9-]{1,31})?$'),
    version     integer     NOT NULL CHECK (version BETWEEN 1 AND 65535),
    algorithm   text        NOT NULL CHECK (length(algorithm) BETWEEN 1 AND 64),
    state       smallint    NOT NULL CHECK (state BETWEEN 1 AND 6),
    changes     integer     NOT NULL CHECK (changes >= 1),
    parent      uuid        NOT NULL,
    wrapped     bytea       CHECK (octet_length(wrapped) BETWEEN 48 AND 8192),
    public_key  bytea       NOT NULL CHECK (octet_length(public_key) <= 4096),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    UNIQUE (book, owner, purpose, version),
    CONSTRAINT a_destroyed_key_is_gone CHECK ((state = 6) = (wrapped IS NULL))
);
CREATE UNIQUE INDEX one_active_version ON keys (book, owner, purpose) WHERE state = 2;
COMMENT ON TABLE keys IS 'Every key below the KEK; nothing in it opens without the KEK, which lies elsewhere';
COMMENT ON COLUMN keys.state IS '1 pre-activation 2 active 3 suspended 4 deactivated 5 compromised 6 destroyed';
COMMENT ON COLUMN keys.changes IS 'How many entries of the history are about it';
COMMENT ON COLUMN keys.parent IS 'The key that it is wrapped by: the KEK, or for a customer a sealing key of the service';

CREATE TABLE key_history (
    book        integer     NOT NULL,
    key         uuid        NOT NULL,
    number      integer     NOT NULL CHECK (number >= 1),
    from_state  smallint,
    to_state    smallint    NOT NULL CHECK (to_state BETWEEN 1 AND 6),
    actor       text        NOT NULL CHECK (actor ~ '^[A-Za-z]{1,20}:[A-Za-z0-9-]{1,40}$'),
    reason      text        NOT NULL CHECK (reason ~ '^[a-z]+(-[a-z]+){0,4}$'),
    at          timestamptz NOT NULL,
    PRIMARY KEY (book, key, number),
    FOREIGN KEY (book, key) REFERENCES keys (book, id),
    CONSTRAINT a_permitted_change CHECK (
        CASE WHEN number = 1 THEN from_state IS NULL AND to_state IN (1, 2)
             ELSE from_state IS NOT NULL AND key_may_become(from_state, to_state) END)
);
"""

_GUARDS = """
CREATE FUNCTION refuse_unfit_change_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.book, NEW.id, NEW.owner, NEW.purpose, NEW.version, NEW.algorithm, NEW.parent, NEW.public_key, NEW.created_at)
       IS DISTINCT FROM
       (OLD.book, OLD.id, OLD.owner, OLD.purpose, OLD.version, OLD.algorithm, OLD.parent, OLD.public_key, OLD.created_at)
    THEN
        RAISE EXCEPTION 'what a key is never changes' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state <> NEW.state AND NOT key_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'a key in state % never comes into state %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.changes <> OLD.changes + (OLD.state <> NEW.state)::integer THEN
        RAISE EXCEPTION 'a change of state counts one, anything else none' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_fit_changes BEFORE UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION refuse_unfit_change_of_key();

CREATE FUNCTION refuse_untold_change_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE told smallint;
BEGIN
    SELECT to_state INTO told FROM key_history WHERE (book, key, number) = (NEW.book, NEW.id, NEW.changes);
    IF told IS DISTINCT FROM NEW.state THEN
        RAISE EXCEPTION 'the history does not tell of this state of key %', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER told_in_the_history AFTER INSERT OR UPDATE OF state, changes ON keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_untold_change_of_key();

CREATE FUNCTION refuse_loss_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a key is destroyed by its state, its row stays' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER rows_stay BEFORE DELETE OR TRUNCATE ON keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_loss_of_key();

CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: what was recorded is never changed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON key_history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
"""


def upgrade() -> None:
    """Create the tables of the keys."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
