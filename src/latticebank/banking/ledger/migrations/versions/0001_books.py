"""The books: accounts, transfers, entries, reservations and the journal.

Book and shard lead every key, and nothing hangs on a sequence of the whole database, so that the tables can be
distributed by shard. There are no foreign keys on the tables that every transfer writes (they would cost half as much
again); `latticebank ledger check` proves what they would have promised.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE shard_heads (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    next_seq        bigint      NOT NULL DEFAULT 1 CHECK (next_seq >= 1),
    next_serial     integer     NOT NULL DEFAULT 0 CHECK (next_serial BETWEEN 0 AND 10000000),
    journal_link    bytea       NOT NULL CHECK (octet_length(journal_link) = 32),
    recorded_at     timestamptz NOT NULL,
    writer          uuid        NOT NULL,
    PRIMARY KEY (book, shard)
);
COMMENT ON TABLE shard_heads IS 'Where each shard stands, and which writer process wrote it last';

CREATE TABLE accounts (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    account         bigint      NOT NULL CHECK (account BETWEEN 1000000000 AND 9999999999),
    balance         bigint      NOT NULL DEFAULT 0,
    held            bigint      NOT NULL DEFAULT 0 CHECK (held >= 0),
    overdraft_limit bigint      NOT NULL CHECK (overdraft_limit >= 0),
    entries         bigint      NOT NULL DEFAULT 0 CHECK (entries >= 0),
    version         bigint      NOT NULL DEFAULT 0,
    last_booking    date        NOT NULL,
    kind            smallint    NOT NULL CHECK (kind IN (1, 2, 11, 12, 13, 14, 15, 16)),
    status          smallint    NOT NULL CHECK (status IN (1, 2, 3)),
    currency        char(3)     NOT NULL,
    PRIMARY KEY (book, shard, account),
    CONSTRAINT never_beyond_the_overdraft_limit
        CHECK (balance::numeric - held >= -overdraft_limit::numeric),
    CONSTRAINT closed_only_at_zero CHECK (status <> 3 OR (balance = 0 AND held = 0))
) WITH (fillfactor = 60);
COMMENT ON COLUMN accounts.balance IS 'Minor units; positive where the bank owes';
COMMENT ON COLUMN accounts.kind IS
    '1 checking 2 savings 11 cash 12 fees 13 interest 14 suspense 15 settlement 16 migration';
COMMENT ON COLUMN accounts.status IS '1 open 2 frozen 3 closed';

CREATE TABLE account_references (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    reference       text        NOT NULL CHECK (reference ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$'),
    account         bigint      NOT NULL,
    PRIMARY KEY (book, shard, reference),
    UNIQUE (book, shard, account)
);
COMMENT ON TABLE account_references IS 'The name of an account in another system';

CREATE TABLE account_parties (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    account         bigint      NOT NULL,
    party           text        NOT NULL CHECK (party ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$'),
    role            smallint    NOT NULL CHECK (role IN (1, 2)),
    PRIMARY KEY (book, shard, account, party)
);
CREATE INDEX account_parties_by_party ON account_parties (book, shard, party, account);
COMMENT ON COLUMN account_parties.role IS '1 owner 2 mandate; the party is a reference, never personal data';

CREATE TABLE account_acts (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    seq             bigint      NOT NULL,
    act             smallint    NOT NULL CHECK (act BETWEEN 1 AND 5),
    outcome         smallint    NOT NULL CHECK (outcome >= 0),
    account         bigint      NOT NULL,
    actor           text        NOT NULL,
    details         jsonb       NOT NULL,
    recorded_at     timestamptz NOT NULL,
    PRIMARY KEY (book, shard, id)
);
CREATE INDEX account_acts_by_account ON account_acts (book, shard, account, seq);

CREATE TABLE transfers (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    seq             bigint      NOT NULL,
    id              uuid        NOT NULL,
    kind            smallint    NOT NULL CHECK (kind BETWEEN 1 AND 6),
    outcome         smallint    NOT NULL CHECK (outcome >= 0),
    debit           bigint      NOT NULL,
    credit          bigint      NOT NULL,
    amount          bigint      NOT NULL CHECK (amount >= 0),
    currency        char(3)     NOT NULL,
    purpose         smallint    NOT NULL,
    booking_date    date        NOT NULL,
    value_date      date        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    evidence_class  smallint    NOT NULL,
    evidence        bytea       NOT NULL CHECK (octet_length(evidence) IN (0, 32)),
    debit_entry     bigint      NOT NULL,
    credit_entry    bigint      NOT NULL,
    reference       uuid,
    chain           uuid,
    PRIMARY KEY (book, shard, id),
    CONSTRAINT done_between_two_accounts
        CHECK (outcome <> 0 OR (debit <> credit AND amount > 0) OR (kind = 4 AND debit = 0 AND amount = 0)),
    CONSTRAINT entries_only_when_posted
        CHECK (CASE WHEN outcome = 0 AND kind IN (1, 3, 6) THEN debit_entry > 0 AND credit_entry > 0
                    ELSE debit_entry = 0 AND credit_entry = 0 END)
);
CREATE UNIQUE INDEX transfers_reversed_once ON transfers (book, shard, reference) WHERE kind = 6 AND outcome = 0;
COMMENT ON COLUMN transfers.kind IS '1 post 2 reserve 3 post-reserved 4 void 5 expire 6 reverse';
COMMENT ON COLUMN transfers.outcome IS '0 done, else the number of a rejection';

CREATE TABLE entries (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    account         bigint      NOT NULL,
    number          bigint      NOT NULL CHECK (number >= 1),
    transfer        uuid        NOT NULL,
    amount          bigint      NOT NULL CHECK (amount <> 0),
    balance         bigint      NOT NULL,
    booking_date    date        NOT NULL,
    value_date      date        NOT NULL,
    PRIMARY KEY (book, shard, account, number)
);

CREATE TABLE reservations (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    id              uuid        NOT NULL,
    chain           uuid,
    debit           bigint      NOT NULL,
    credit          bigint      NOT NULL,
    amount          bigint      NOT NULL CHECK (amount > 0),
    currency        char(3)     NOT NULL,
    purpose         smallint    NOT NULL,
    evidence_class  smallint    NOT NULL,
    evidence        bytea       NOT NULL,
    expires_at      timestamptz,
    state           smallint    NOT NULL CHECK (state BETWEEN 1 AND 4),
    resolved_by     uuid,
    PRIMARY KEY (book, shard, id),
    CONSTRAINT resolved_by_something CHECK ((state = 1) = (resolved_by IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX reservations_of_chain ON reservations (book, shard, chain) WHERE chain IS NOT NULL;
CREATE INDEX reservations_to_expire ON reservations (book, shard, expires_at)
    WHERE state = 1 AND expires_at IS NOT NULL;
CREATE INDEX reservations_open ON reservations (book, shard, debit) WHERE state = 1;
COMMENT ON COLUMN reservations.state IS '1 open 2 posted 3 voided 4 expired';

CREATE TABLE journal (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    first_seq       bigint      NOT NULL,
    next_seq        bigint      NOT NULL CHECK (next_seq > first_seq),
    recorded_at     timestamptz NOT NULL,
    link            bytea       NOT NULL CHECK (octet_length(link) = 32),
    PRIMARY KEY (book, shard, first_seq)
);
COMMENT ON TABLE journal IS 'One link of the hash chain of a shard for each batch';
"""

_GUARDS = """
CREATE FUNCTION require_rows(actual bigint, expected integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF actual <> expected THEN
        RAISE EXCEPTION 'expected to change % rows, found % as they were known', expected, actual
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: what was recorded is never changed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_acts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
"""


def upgrade() -> None:
    """Create the tables of the ledger."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
