"""How long to wait before a crashed process is started again."""

from dataclasses import dataclass

_FIRST_S = 0.5
_LONGEST_S = 30.0
_FORGIVEN_AFTER_S = 60.0


def pause(crashes: int) -> float:
    """Seconds before the next start: 0.5, 1, 2 … 30."""
    return float(min(_LONGEST_S, _FIRST_S * 2 ** min(crashes - 1, 10)))


@dataclass(slots=True)
class Backoff:
    """Counts the crashes of one process; a minute of life forgives them."""

    crashes: int = 0
    started_at: float = 0.0
    due_at: float | None = None
    """When to start again; None while it runs."""

    def started(self, now: float) -> None:
        """It runs again."""
        self.started_at = now
        self.due_at = None

    def crashed(self, now: float) -> float:
        """It ended without being asked; returns the seconds to wait."""
        if now - self.started_at > _FORGIVEN_AFTER_S:
            self.crashes = 0
        self.crashes += 1
        wait = pause(self.crashes)
        self.due_at = now + wait
        return wait
