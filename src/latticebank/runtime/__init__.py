"""What a bank on one machine runs on: an embedded PostgreSQL, process supervision, demo data.

`runtime.postgres.EmbeddedPostgres` is a real PostgreSQL 18 that lives exactly as long as the process that started it.
"""
