"""Registrations that were refused since their address was taken, so that what follows is answered as after any other.

Without them a user id, a device id or a key would be free again after a refusal, and whoever asked would see it.
Nothing personal is kept, and not for long.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

_REFUSED = """
CREATE TABLE refused_registrations (
    book            integer     NOT NULL,
    user_id         uuid        NOT NULL,
    device          uuid        NOT NULL,
    key_hash        bytea       NOT NULL CHECK (octet_length(key_hash) = 32),
    state           smallint    NOT NULL DEFAULT 1 CHECK (state IN (1, 2)),
    request_mac     bytea       NOT NULL CHECK (octet_length(request_mac) = 32),
    password        text        NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (book, user_id),
    CONSTRAINT a_refused_device_is_one UNIQUE (book, device),
    CONSTRAINT a_refused_key_is_one_device UNIQUE (book, key_hash)
);
CREATE INDEX refused_registrations_by_time ON refused_registrations (book, created_at);
COMMENT ON COLUMN refused_registrations.key_hash IS 'SHA-256 of the public key of the device';
COMMENT ON COLUMN refused_registrations.state IS '1 the ledger was not asked yet 2 it was; as of users';
COMMENT ON COLUMN refused_registrations.request_mac IS
    'HMAC-SHA-256 of the registration, to tell its repetition from another one';
COMMENT ON COLUMN refused_registrations.password IS 'Hash with its parameters and salt (Argon2id)';
"""


def upgrade() -> None:
    """Create the table of refused registrations."""
    op.execute(_REFUSED)
