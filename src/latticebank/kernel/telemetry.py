"""What the bank says about itself while it runs: logs of JSON lines, and metrics in a registry of its own.

Logs carry no secrets and no personal data: what is named like a secret is redacted, and paths appear as templates.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from latticebank import __version__

METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST
REDACTED = "[redacted]"

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""The id that joins all that one request caused, in every service it passed through."""

_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|authorization|cookie|credential|private|api_?key|seed|dsn", re.IGNORECASE
)
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/\s@'\"]*:[^/\s@'\"]*@")
_BEARER = re.compile(r"\b(bearer\s+|lb[osv]_)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_DEPTH = 6
_SHORTEST_SECRET = 8
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets for durations, in seconds."""


disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every first one, that nobody reads


class Metrics:
    """The counters of one bank, in its own Prometheus registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        labels = ("service", "method", "route")
        self.requests = Counter(
            "latticebank_requests", "Requests answered, by route template.", (*labels, "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "latticebank_request_seconds",
            "Time to answer a request.",
            labels,
            buckets=LATENCIES,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "latticebank_requests_in_flight", "Requests being answered now.", ("service",), registry=self.registry
        )
        self.refused_credentials = Counter(
            "latticebank_credentials_refused", "Credentials that were wrong or malformed.", registry=self.registry
        )
        Gauge("latticebank_build_info", "The version that runs.", ("version",), registry=self.registry).labels(
            __version__
        ).set(1)

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


def configure_logs(stream: TextIO | None = None, *, level: str = "INFO", pretty: bool | None = None) -> None:
    """Send all logs, those of the standard library and of uvicorn too, to `stream` (standard error if None).

    They are JSON lines, or coloured text if `pretty`; None chooses text for an interactive terminal. Start uvicorn with
    `log_config=None`, so that it leaves this alone.
    """
    out = sys.stderr if stream is None else stream
    text = out.isatty() if pretty is None else pretty
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _add_correlation,
    ]
    renderer: structlog.typing.Processor
    if text:
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    last: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, redact, renderer]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _name_the_library],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # It warns of every pipeline that an error broke off; whoever sent the pipeline has that error, and deals with it.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # The access lines of uvicorn and httpx hold whole URLs; ours hold the template of the route.
    # Alembic tells at length that there was nothing to do.
    for name in ("uvicorn.access", "httpx", "httpcore", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace whatever is named like a secret, and credentials inside texts; a processor of structlog."""
    for key, value in event.items():
        event[key] = _redacted(key, value, _DEPTH)
    return event


def _redacted(name: str, value: object, depth: int) -> object:
    if value is None:
        return None
    if _names_a_secret(name):
        return REDACTED
    if isinstance(value, str):
        if len(value) < _SHORTEST_SECRET:
            return value
        if "://" in value:
            value = _CREDENTIALS_IN_URL.sub(f"{REDACTED}@", value)
        return _BEARER.sub(rf"\g<1>{REDACTED}", value)
    if isinstance(value, dict | list | tuple | set | frozenset) and depth == 0:
        return REDACTED
    if isinstance(value, dict):
        return {key: _redacted(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", inner, depth - 1) for inner in value]
    return value


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _add_correlation(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (correlation := correlation_id.get()) is not None:
        event.setdefault("correlation_id", correlation)
    return event


def _name_the_library(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("service", event["_record"].name.partition(".")[0])
    event.pop("color_message", None)  # uvicorn says everything twice
    return event


def _to_json(event: object, **_settings: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
