"""What a start tells the person who waits for it."""

from typing import Protocol


class Reporter(Protocol):
    """Shows what happens."""

    def starting(self, name: str) -> None:
        """Something begins to start."""

    def ready(self, name: str) -> None:
        """It is ready."""

    def say(self, sentence: str) -> None:
        """Anything else worth a line."""
