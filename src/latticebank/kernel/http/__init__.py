"""The HTTP plumbing of every service: one factory of applications, one place of problem documents, one way in.

A service declares its routes on a `Router`, each with the Cedar action that it needs, and builds with `application`.
"""

from latticebank.kernel.http.application import application
from latticebank.kernel.http.body import read_json
from latticebank.kernel.http.idempotency import IdempotencyKey, IdempotencyKeyReused
from latticebank.kernel.http.paging import PageCursor, PageLimit, decode_cursor, encode_cursor
from latticebank.kernel.http.permission import permit
from latticebank.kernel.http.routes import Router, RouteRow, route_table

__all__ = [
    "IdempotencyKey",
    "IdempotencyKeyReused",
    "PageCursor",
    "PageLimit",
    "RouteRow",
    "Router",
    "application",
    "decode_cursor",
    "encode_cursor",
    "permit",
    "read_json",
    "route_table",
]
