"""How an instant is written where no model writes it: as the models do, in UTC, with a Z."""

from datetime import UTC, datetime


def written(instant: datetime) -> str:
    """``2026-11-22T12:00:00.123456Z``; whole seconds without a fraction."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
