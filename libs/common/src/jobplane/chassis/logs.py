"""Logs: one JSON object a line on stdout, an event name and keys; never a secret, never a body."""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from jobplane.chassis.tracing import current_trace_id

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Entry = MutableMapping[str, Any]


def configure(service: str, instance: str, level: str = "info") -> None:
    """Send logs of this process to stdout; those of libraries too, from `warning` on. Doing it again replaces it."""
    threshold = _LEVELS[level]

    def identify(_logger: object, method: str, entry: Entry) -> Entry:
        event = entry.pop("event", None)
        trace_id = current_trace_id()
        head: Entry = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": "error" if method == "exception" else method,
            "event": event,
            "service": service,
            "instance": instance,
        }
        if trace_id is not None:
            head["trace_id"] = trace_id
        head.update(entry)
        return head

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            identify,
            _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_FromLibrary()]
    root.setLevel(max(threshold, logging.WARNING) if threshold > logging.DEBUG else logging.INFO)
    logging.captureWarnings(capture=True)


def _as_json(_logger: object, _method: str, entry: Entry) -> str:
    return json.dumps(entry, default=str, ensure_ascii=False, separators=(",", ":"))


class _FromLibrary(logging.Handler):
    """Turns a record of the standard library's logging into one of our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        log.log(level, "library.log", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)
