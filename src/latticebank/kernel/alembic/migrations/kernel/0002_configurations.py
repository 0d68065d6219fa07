"""The configuration that a service was last started under."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE configurations (
            book            integer     NOT NULL CHECK (book > 0),
            service         text        NOT NULL CHECK (length(service) BETWEEN 1 AND 100),
            settings_digest bytea       NOT NULL CHECK (octet_length(settings_digest) = 32),
            policy_digest   bytea       NOT NULL CHECK (octet_length(policy_digest) = 32),
            settings        jsonb       NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
            version         text        NOT NULL CHECK (length(version) BETWEEN 1 AND 100),
            at              timestamptz NOT NULL,
            PRIMARY KEY (book, service)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE configurations")
