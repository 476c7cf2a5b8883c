"""Heartbeats for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from jobplane.contracts.fleet import Heartbeat

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def beat(kind: str = "jobs", instance: str = "jobs-1", at: datetime = NOON, **changes: Any) -> Heartbeat:
    told = {
        "kind": kind,
        "instance": instance,
        "version": "0.1.0",
        "pid": 7,
        "host": "here",
        "started_at": NOON,
        "sent_at": at,
        "ready": True,
        "cpu_percent": 1.5,
        "rss_bytes": 50_000_000,
        "loop_lag_ms": 2.0,
        **changes,
    }
    return Heartbeat.model_validate(told)
