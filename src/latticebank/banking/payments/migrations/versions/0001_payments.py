"""Payments: what was signed, the payments made of it, batches, counters of limits, decisions, and unsettled work.

Book and shard lead every key; the shard is that of the signer. There are no foreign keys on what every payment writes.
A payment's row changes once, when it is settled, and no index of it holds a column that changes: so the change stays on
its page. What waits to be settled is found by `unsettled`, one row for each group of payments, not by an index on states.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE payments (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    kind            smallint    NOT NULL CHECK (kind IN (1, 2, 3)),
    state           smallint    NOT NULL CHECK (state BETWEEN 1 AND 7),
    hold            smallint    NOT NULL CHECK (hold IN (0, 1, 2)),
    high_value      boolean     NOT NULL,
    signer          uuid        NOT NULL,
    session         uuid        NOT NULL,
    device          uuid        NOT NULL,
    debtor          bigint      NOT NULL CHECK (debtor BETWEEN 1000000000 AND 9999999999),
    creditor        bigint      NOT NULL CHECK (creditor BETWEEN 1000000000 AND 9999999999),
    amount          bigint      NOT NULL CHECK (amount > 0),
    currency        char(3)     NOT NULL,
    day             date        NOT NULL,
    hash            bytea       NOT NULL CHECK (octet_length(hash) = 32),
    received_at     timestamptz NOT NULL,
    reason          text,
    final_at        timestamptz,
    booking_date    date,
    approval_expires_at timestamptz,
    batch           uuid,
    place           integer,
    PRIMARY KEY (book, shard, id),
    CONSTRAINT final_at_a_time CHECK ((state IN (3, 4, 5, 6)) = (final_at IS NOT NULL)),
    CONSTRAINT refused_for_a_reason CHECK ((state IN (4, 6)) = (reason IS NOT NULL)),
    CONSTRAINT booked_when_posted CHECK ((state = 3) = (booking_date IS NOT NULL)),
    CONSTRAINT held_until_a_time CHECK (state <> 2 OR (hold > 0 AND approval_expires_at IS NOT NULL)),
    CONSTRAINT in_its_batch CHECK ((kind = 2) = (batch IS NOT NULL) AND (kind = 2) = (place IS NOT NULL)),
    CONSTRAINT follows_a_batch CHECK (state <> 7 OR kind = 2)
) WITH (fillfactor = 50);
CREATE INDEX payments_of_signer ON payments (book, shard, signer, received_at, id);
CREATE INDEX payments_of_high_value ON payments (book, shard, signer, received_at) WHERE high_value;
COMMENT ON COLUMN payments.kind IS '1 payment 2 of a batch 3 cash';
COMMENT ON COLUMN payments.state IS
    '1 received 2 awaiting approval 3 posted 4 rejected 5 cancelled 6 failed 7 follows its batch';
COMMENT ON COLUMN payments.hold IS '0 none 1 over the threshold 2 one of many of high value';
COMMENT ON COLUMN payments.amount IS 'Minor units';
COMMENT ON COLUMN payments.hash IS 'SHA-256 of the instruction, or the Merkle leaf of a payment of a batch';

CREATE TABLE signed_documents (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    document        bytea       NOT NULL,
    signature       bytea       NOT NULL,
    PRIMARY KEY (book, shard, id)
) WITH (toast_tuple_target = 8160);
ALTER TABLE signed_documents ALTER COLUMN document SET STORAGE EXTERNAL;
ALTER TABLE signed_documents ALTER COLUMN signature SET STORAGE EXTERNAL;
COMMENT ON TABLE signed_documents IS 'What a device signed for one payment or cash order, by the id of the payment';
COMMENT ON COLUMN signed_documents.document IS
    'personal: payee, reference, amount; purpose: evidence of the payment; retention: 10 years; key: records';

CREATE TABLE batches (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    state           smallint    NOT NULL CHECK (state IN (1, 2)),
    signer          uuid        NOT NULL,
    session         uuid        NOT NULL,
    device          uuid        NOT NULL,
    count           integer     NOT NULL CHECK (count BETWEEN 1 AND 8000),
    hash            bytea       NOT NULL CHECK (octet_length(hash) = 32),
    manifest        bytea       NOT NULL,
    signature       bytea       NOT NULL,
    received_at     timestamptz NOT NULL,
    final_at        timestamptz,
    booking_date    date,
    PRIMARY KEY (book, shard, id),
    CONSTRAINT completed_at_a_time CHECK ((state = 2) = (final_at IS NOT NULL))
);
COMMENT ON COLUMN batches.state IS '1 received 2 completed';
COMMENT ON COLUMN batches.manifest IS
    'personal: account, totals; purpose: evidence of the payments; retention: 10 years; key: records';

CREATE TABLE batch_texts (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    batch           uuid        NOT NULL,
    piece           integer     NOT NULL,
    texts           bytea       NOT NULL,
    PRIMARY KEY (book, shard, batch, piece)
);
ALTER TABLE batch_texts ALTER COLUMN texts SET STORAGE EXTERNAL;
COMMENT ON TABLE batch_texts IS 'The payments of a batch as they were received, in pieces of 250';
COMMENT ON COLUMN batch_texts.texts IS
    'personal: payees, references, amounts; purpose: evidence of the payments; retention: 10 years; key: records';

CREATE TABLE limit_uses (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    signer          uuid        NOT NULL,
    currency        char(3)     NOT NULL,
    day             date        NOT NULL,
    used            bigint      NOT NULL,
    bound           bigint      NOT NULL,
    PRIMARY KEY (book, shard, signer, currency, day),
    CONSTRAINT never_beyond_the_limit CHECK (used BETWEEN 0 AND bound)
) WITH (fillfactor = 60);
COMMENT ON TABLE limit_uses IS 'What a customer has used of a business day, in minor units, and the limit of the last use';

CREATE TABLE unsettled (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    kind            smallint    NOT NULL CHECK (kind IN (1, 2, 3)),
    members         uuid[]      NOT NULL,
    claimed_until   timestamptz NOT NULL,
    PRIMARY KEY (book, shard, id)
);
CREATE INDEX unsettled_in_order ON unsettled (book, shard, claimed_until);
COMMENT ON TABLE unsettled IS 'What was accepted or decided and has still to be done in the ledger and settled';
COMMENT ON COLUMN unsettled.kind IS '1 a group of payments 2 a signed batch 3 a decision';

CREATE TABLE approvals (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    payment         uuid        NOT NULL,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (book, shard, payment)
);
CREATE INDEX approvals_in_order ON approvals (book, shard, expires_at, payment);
COMMENT ON TABLE approvals IS 'The payments that wait for a decision';

CREATE TABLE decisions (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    payment         uuid        NOT NULL,
    choice          smallint    NOT NULL CHECK (choice BETWEEN 1 AND 4),
    decided_at      timestamptz NOT NULL,
    decided_by      uuid,
    device          uuid,
    document        bytea,
    signature       bytea,
    PRIMARY KEY (book, shard, payment),
    CONSTRAINT decided_by_somebody CHECK ((choice = 4) = (decided_by IS NULL)),
    CONSTRAINT a_manager_signs CHECK (
        choice > 2 OR (device IS NOT NULL AND document IS NOT NULL AND signature IS NOT NULL)
    )
);
COMMENT ON COLUMN decisions.choice IS '1 approve 2 reject 3 cancel 4 expire';
COMMENT ON COLUMN decisions.document IS 'What the manager signed: identifiers and a hash, nothing personal';
"""

_GUARDS = """
CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% keeps what was signed and settled: it is never changed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER final_is_final BEFORE UPDATE ON payments FOR EACH ROW
    WHEN (OLD.final_at IS NOT NULL
          OR (OLD.kind, OLD.hold, OLD.high_value, OLD.signer, OLD.session, OLD.device, OLD.debtor, OLD.creditor,
              OLD.amount, OLD.currency, OLD.day, OLD.hash, OLD.received_at)
             IS DISTINCT FROM
             (NEW.kind, NEW.hold, NEW.high_value, NEW.signer, NEW.session, NEW.device, NEW.debtor, NEW.creditor,
              NEW.amount, NEW.currency, NEW.day, NEW.hash, NEW.received_at))
    EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON payments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signed_documents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON batch_texts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON decisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER final_is_final BEFORE UPDATE ON batches FOR EACH ROW
    WHEN (OLD.final_at IS NOT NULL
          OR (OLD.signer, OLD.device, OLD.count, OLD.hash, OLD.manifest, OLD.signature, OLD.received_at)
             IS DISTINCT FROM
             (NEW.signer, NEW.device, NEW.count, NEW.hash, NEW.manifest, NEW.signature, NEW.received_at))
    EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON batches
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
"""


def upgrade() -> None:
    """Create the tables of payments."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
