"""Erasures of profiles: begun, then carried out in steps that outlive a crash, and never undone once they are done.

The user stays as the one to whom devices, rights and payments are traced; nothing that tells who it was does.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_ERASURES = """
ALTER TABLE users DROP CONSTRAINT users_state_check;
ALTER TABLE users ADD CONSTRAINT users_state_check CHECK (state IN (1, 2, 3));
COMMENT ON COLUMN users.state IS
    '1 opening (the first account is not there yet) 2 active 3 erased, or about to be: see erasures';

CREATE TABLE erasures (
    book            integer     NOT NULL,
    user_id         uuid        NOT NULL,
    requested_by    uuid,
    requested_at    timestamptz NOT NULL,
    erased_at       timestamptz,
    sessions_ended  integer     CHECK (sessions_ended >= 0),
    devices_revoked integer     CHECK (devices_revoked >= 0),
    PRIMARY KEY (book, user_id),
    FOREIGN KEY (book, user_id) REFERENCES users (book, id),
    CONSTRAINT erased_in_full CHECK (num_nonnulls(erased_at, sessions_ended, devices_revoked) IN (0, 3))
);
CREATE INDEX erasures_begun ON erasures (book, requested_at) WHERE erased_at IS NULL;
COMMENT ON COLUMN erasures.requested_by IS 'The user; null where the operator asked';

CREATE FUNCTION refuse_change_of_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.erased_at IS NOT NULL THEN
        RAISE EXCEPTION 'an erasure is never undone' USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER never_undone BEFORE UPDATE OR DELETE ON erasures
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_erasure();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON erasures FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation();

CREATE FUNCTION refuse_return_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE (book, user_id) = (OLD.book, OLD.id) AND erased_at IS NOT NULL) THEN
        RAISE EXCEPTION 'a user whose profile was erased does not come back' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER erased_for_good BEFORE UPDATE ON users
    FOR EACH ROW WHEN (OLD.state = 3) EXECUTE FUNCTION refuse_return_of_user();
"""


def upgrade() -> None:
    """Create the table of erasures, and let users be erased."""
    op.execute(_ERASURES)
