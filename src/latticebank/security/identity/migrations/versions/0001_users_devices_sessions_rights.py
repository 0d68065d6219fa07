"""Users, devices, sessions, rights, the proposals that lead to rights, and the counters against guessing.

The book leads every key. What is evidence (a device's enrolment, a proposal and its decision) is guarded against change:
a device can only be revoked, once; a proposal only decided, once; neither can go.
"""

from alembic import op

revision = "0001"
down_revision = None

_USERS = """
CREATE TABLE users (
    book            integer     NOT NULL,
    id              uuid        NOT NULL,
    state           smallint    NOT NULL CHECK (state IN (1, 2)),
    email_index     bytea       NOT NULL CHECK (octet_length(email_index) = 32),
    request_mac     bytea       NOT NULL CHECK (octet_length(request_mac) = 32),
    password        text        NOT NULL,
    profile         bytea       NOT NULL,
    epoch           bigint      NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    registered_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    CONSTRAINT one_user_for_an_email UNIQUE (book, email_index)
);
CREATE INDEX users_opening ON users (book, registered_at) WHERE state = 1;
COMMENT ON COLUMN users.state IS '1 opening (the first account is not there yet) 2 active';
COMMENT ON COLUMN users.email_index IS 'Blind index (HMAC-SHA-256) of the folded e-mail address';
COMMENT ON COLUMN users.request_mac IS 'HMAC-SHA-256 of the registration, to tell its repetition from another one';
COMMENT ON COLUMN users.password IS 'Hash with its parameters and salt (Argon2id)';
COMMENT ON COLUMN users.epoch IS 'Grows with every change of the rights or of the password';
COMMENT ON COLUMN users.profile IS
    'personal: e-mail address, full name, phone; purpose: contract with the customer; retention: until erasure; key: profile';

CREATE TABLE rights (
    book            integer     NOT NULL,
    user_id         uuid        NOT NULL,
    name            text        NOT NULL CHECK (name ~ '^(teller|manager|auditor|admin|verified|party:.{1,64})$'),
    granted_at      timestamptz NOT NULL,
    proposal        uuid,
    PRIMARY KEY (book, user_id, name),
    FOREIGN KEY (book, user_id) REFERENCES users (book, id)
);
CREATE UNIQUE INDEX a_party_is_one_user ON rights (book, name) WHERE name LIKE 'party:%';
CREATE INDEX rights_of_admins ON rights (book) WHERE name = 'admin';
COMMENT ON COLUMN rights.proposal IS 'The approved proposal; null for the first admins, whom the operator named';
"""

_DEVICES = """
CREATE TABLE devices (
    book                integer     NOT NULL,
    id                  uuid        NOT NULL,
    user_id             uuid        NOT NULL,
    algorithm           text        NOT NULL,
    public_key          bytea       NOT NULL,
    name                bytea       NOT NULL,
    document            bytea       NOT NULL,
    signature           bytea       NOT NULL,
    sponsor             uuid,
    sponsor_signature   bytea,
    proposal            uuid,
    enrolled_at         timestamptz NOT NULL,
    active_from         timestamptz NOT NULL CHECK (active_from >= enrolled_at),
    revoked_at          timestamptz,
    revoke_reason       text,
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, user_id) REFERENCES users (book, id),
    CONSTRAINT vouched_for_in_one_way
        CHECK ((sponsor IS NULL) = (sponsor_signature IS NULL) AND (sponsor IS NULL OR proposal IS NULL)),
    CONSTRAINT revoked_with_a_reason CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);
CREATE INDEX devices_of_user ON devices (book, user_id);
CREATE UNIQUE INDEX one_first_device ON devices (book, user_id) WHERE sponsor IS NULL AND proposal IS NULL;
CREATE UNIQUE INDEX a_key_is_one_device ON devices (book, sha256(public_key));
COMMENT ON COLUMN devices.document IS 'The enrolment as it was signed, by the new key and by the sponsor; ids and a key only';
COMMENT ON COLUMN devices.name IS
    'personal: name of the device; purpose: telling devices apart; retention: until erasure; key: profile';

CREATE FUNCTION refuse_change_of_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL
       OR (NEW.book, NEW.id, NEW.user_id, NEW.algorithm, NEW.public_key, NEW.name, NEW.document, NEW.signature,
           NEW.sponsor, NEW.sponsor_signature, NEW.proposal, NEW.enrolled_at, NEW.active_from)
       IS DISTINCT FROM
          (OLD.book, OLD.id, OLD.user_id, OLD.algorithm, OLD.public_key, OLD.name, OLD.document, OLD.signature,
           OLD.sponsor, OLD.sponsor_signature, OLD.proposal, OLD.enrolled_at, OLD.active_from)
    THEN
        RAISE EXCEPTION 'a device is evidence: it can be revoked, once, and nothing else';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_revoked BEFORE UPDATE OR DELETE ON devices FOR EACH ROW EXECUTE FUNCTION refuse_change_of_device();
"""

_SESSIONS = """
CREATE TABLE sessions (
    book            integer     NOT NULL,
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    token_hash      bytea       NOT NULL CHECK (octet_length(token_hash) = 32),
    device          uuid,
    started_at      timestamptz NOT NULL,
    last_seen       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL CHECK (ends_at > started_at),
    ended_at        timestamptz,
    PRIMARY KEY (book, id),
    CONSTRAINT sessions_by_token UNIQUE (book, token_hash),
    FOREIGN KEY (book, user_id) REFERENCES users (book, id)
) WITH (fillfactor = 60);
CREATE INDEX sessions_of_user ON sessions (book, user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (book, ends_at);
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the token; the token itself is nowhere';
COMMENT ON COLUMN sessions.device IS 'The device that proved itself at log-in';

CREATE TABLE login_attempts (
    book            integer     NOT NULL,
    kind            smallint    NOT NULL CHECK (kind IN (1, 2, 3)),
    subject         bytea       NOT NULL CHECK (octet_length(subject) IN (16, 32)),
    failures        smallint    NOT NULL CHECK (failures >= 0),
    last_at         timestamptz NOT NULL,
    locked_until    timestamptz,
    told_at         timestamptz,
    PRIMARY KEY (book, kind, subject)
) WITH (fillfactor = 60);
CREATE INDEX login_attempts_by_time ON login_attempts (book, last_at);
COMMENT ON COLUMN login_attempts.kind IS '1 e-mail (its blind index, known or not) 2 device 3 user, for a password change';
"""

_PROPOSALS = """
CREATE TABLE proposals (
    book                integer     NOT NULL,
    id                  uuid        NOT NULL,
    proposer            uuid        NOT NULL,
    device              uuid        NOT NULL,
    subject             uuid        NOT NULL,
    action              text        NOT NULL CHECK (action IN ('grant', 'withdraw')),
    name                text        NOT NULL,
    document            bytea       NOT NULL,
    signature           bytea       NOT NULL,
    enrolment           bytea,
    enrolment_signature bytea,
    device_name         bytea,
    proposed_at         timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    state               smallint    NOT NULL DEFAULT 1 CHECK (state IN (1, 2, 3)),
    decided_by          uuid,
    decided_at          timestamptz,
    decision            bytea,
    decision_signature  bytea,
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, subject) REFERENCES users (book, id),
    FOREIGN KEY (book, proposer) REFERENCES users (book, id),
    CONSTRAINT a_device_with_its_enrolment
        CHECK ((name LIKE 'device:%') = (num_nonnulls(enrolment, enrolment_signature, device_name) = 3)
               AND num_nonnulls(enrolment, enrolment_signature, device_name) IN (0, 3)),
    CONSTRAINT decided_in_full
        CHECK (num_nonnulls(decided_by, decided_at, decision, decision_signature) = CASE state WHEN 1 THEN 0 ELSE 4 END),
    CONSTRAINT four_eyes
        CHECK (proposer <> subject AND (decided_by IS NULL OR decided_by NOT IN (proposer, subject)))
);
CREATE INDEX proposals_newest ON proposals (book, id DESC);
COMMENT ON COLUMN proposals.state IS '1 open 2 approved 3 rejected; an open one lapses at expires_at';
COMMENT ON COLUMN proposals.device_name IS
    'personal: name of the device; purpose: telling devices apart; retention: until erasure; key: profile';

CREATE FUNCTION refuse_change_of_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.state <> 1 OR NEW.state = 1
       OR (NEW.book, NEW.id, NEW.proposer, NEW.device, NEW.subject, NEW.action, NEW.name, NEW.document, NEW.signature,
           NEW.enrolment, NEW.enrolment_signature, NEW.device_name, NEW.proposed_at, NEW.expires_at)
       IS DISTINCT FROM
          (OLD.book, OLD.id, OLD.proposer, OLD.device, OLD.subject, OLD.action, OLD.name, OLD.document, OLD.signature,
           OLD.enrolment, OLD.enrolment_signature, OLD.device_name, OLD.proposed_at, OLD.expires_at)
    THEN
        RAISE EXCEPTION 'a proposal is evidence: it can be decided, once, and nothing else';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_decided BEFORE UPDATE OR DELETE ON proposals
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_proposal();
CREATE FUNCTION refuse_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% holds evidence: it cannot be emptied', TG_TABLE_NAME;
END $$;
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON devices FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON proposals FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation();
"""


def upgrade() -> None:
    """Create the tables of identity."""
    for statements in (_USERS, _DEVICES, _SESSIONS, _PROPOSALS):
        op.execute(statements)
