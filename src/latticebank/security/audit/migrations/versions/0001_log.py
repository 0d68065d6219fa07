"""The logs of the bank, their trees in tiles, the openings of their leaves, what was published, and gaps.

A bank has one log, numbered 1; a further one is begun only where the last one can never again fit what was published
of it. Nothing here shrinks or changes: tiles and bundles grow at their end, everything else is written once.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE logs (
    book            integer     NOT NULL CHECK (book > 0),
    log             smallint    NOT NULL CHECK (log >= 1),
    origin          text        NOT NULL CHECK (length(origin) BETWEEN 1 AND 200),
    size            bigint      NOT NULL DEFAULT 0 CHECK (size >= 0),
    root            bytea       NOT NULL CHECK (octet_length(root) = 32),
    begun_at        timestamptz NOT NULL,
    PRIMARY KEY (book, log),
    UNIQUE (book, origin)
) WITH (fillfactor = 50);
COMMENT ON COLUMN logs.size IS 'Leaves that are durable; what is published is never more';

CREATE TABLE tiles (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    level           smallint    NOT NULL CHECK (level BETWEEN 0 AND 63),
    number          bigint      NOT NULL CHECK (number >= 0),
    content         bytea       NOT NULL CHECK (octet_length(content) BETWEEN 32 AND 8192 AND octet_length(content) % 32 = 0),
    PRIMARY KEY (book, log, level, number)
);
ALTER TABLE tiles ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE tiles IS 'The hashes of the tree (C2SP tlog-tiles); the last tile of a level may still grow';

CREATE TABLE bundles (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    level           smallint    NOT NULL CHECK (level = 0),
    number          bigint      NOT NULL CHECK (number >= 0),
    content         bytea       NOT NULL CHECK (octet_length(content) BETWEEN 33 AND 8448 AND octet_length(content) % 33 = 0),
    PRIMARY KEY (book, log, level, number)
);
ALTER TABLE bundles ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE bundles IS 'The leaves, 33 bytes each, 256 a bundle; the last bundle may still grow';

CREATE TABLE openings (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    first_index     bigint      NOT NULL CHECK (first_index >= 0),
    count           smallint    NOT NULL CHECK (count BETWEEN 1 AND 250),
    owner           uuid,
    things          bytea       NOT NULL CHECK (octet_length(things) % 16 = 0),
    sealed          bytea       NOT NULL,
    PRIMARY KEY (book, log, first_index)
);
CREATE INDEX openings_of_owner ON openings (book, log, owner, first_index) WHERE owner IS NOT NULL;
ALTER TABLE openings ALTER COLUMN sealed SET STORAGE EXTERNAL;
COMMENT ON TABLE openings IS 'The salts and records of leaves that follow each other and have one owner';
COMMENT ON COLUMN openings.owner IS 'The user whom they are about; null for what is the bank''s own';
COMMENT ON COLUMN openings.things IS 'The ids of payments, batches, devices and keys that they are about, 16 bytes each';
COMMENT ON COLUMN openings.sealed IS
    'personal: acts, accounts, amounts; purpose: evidence; retention: 10 years; key: records';

CREATE TABLE devices (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    device          uuid        NOT NULL,
    PRIMARY KEY (book, log, device)
);
COMMENT ON TABLE devices IS 'The devices whose enrolment the log has an entry of';

CREATE TABLE checkpoints (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    size            bigint      NOT NULL CHECK (size >= 0),
    note            bytea       NOT NULL CHECK (octet_length(note) <= 65536),
    published_at    timestamptz NOT NULL,
    PRIMARY KEY (book, log)
) WITH (fillfactor = 50);
COMMENT ON TABLE checkpoints IS 'What was published last of each log: a note signed by it, with the cosignatures of witnesses';

CREATE TABLE witnesses (
    book            integer     NOT NULL,
    log             smallint    NOT NULL,
    name            text        NOT NULL,
    size            bigint      NOT NULL CHECK (size >= 0),
    PRIMARY KEY (book, log, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE witnesses IS 'The largest tree that each witness has cosigned';

CREATE TABLE spans (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    expected        bigint      NOT NULL CHECK (expected >= 1),
    PRIMARY KEY (book, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE spans IS 'The number of the ledger''s record that is to be heard of next';

CREATE TABLE gaps (
    book            integer     NOT NULL,
    shard           smallint    NOT NULL,
    first_seq       bigint      NOT NULL,
    next_seq        bigint      NOT NULL CHECK (next_seq > first_seq),
    found_at        timestamptz NOT NULL,
    PRIMARY KEY (book, shard, first_seq)
);
COMMENT ON TABLE gaps IS 'Records of the ledger that were not heard of though later ones were';
"""

_GUARDS = """
CREATE FUNCTION refuse_change_of_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what the log says is never changed: %', TG_TABLE_NAME;
END $$;
CREATE FUNCTION refuse_all_but_growth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.book, NEW.log, NEW.level, NEW.number) IS DISTINCT FROM (OLD.book, OLD.log, OLD.level, OLD.number)
       OR substring(NEW.content FOR octet_length(OLD.content)) IS DISTINCT FROM OLD.content
    THEN
        RAISE EXCEPTION 'a tree only grows: %', TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION refuse_smaller_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.book, NEW.log, NEW.origin, NEW.begun_at) IS DISTINCT FROM (OLD.book, OLD.log, OLD.origin, OLD.begun_at)
       OR NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
    THEN
        RAISE EXCEPTION 'a log only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE ON logs FOR EACH ROW EXECUTE FUNCTION refuse_smaller_log();
CREATE TRIGGER only_grows BEFORE UPDATE ON tiles FOR EACH ROW EXECUTE FUNCTION refuse_all_but_growth();
CREATE TRIGGER only_grows BEFORE UPDATE ON bundles FOR EACH ROW EXECUTE FUNCTION refuse_all_but_growth();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON tiles FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON bundles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON openings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
CREATE FUNCTION refuse_smaller_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.book, NEW.log) IS DISTINCT FROM (OLD.book, OLD.log) OR NEW.size < OLD.size
       OR (NEW.size = OLD.size AND substring(NEW.note FOR octet_length(OLD.note)) IS DISTINCT FROM OLD.note)
    THEN
        RAISE EXCEPTION 'a checkpoint is followed by a larger one, or gets further cosignatures';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_followed BEFORE UPDATE ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION refuse_smaller_checkpoint();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
"""


def upgrade() -> None:
    """Create the tables of the log."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
