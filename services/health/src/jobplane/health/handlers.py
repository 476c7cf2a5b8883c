"""The questions that the health service answers."""

from jobplane.contracts.fleet import DetailedHealth
from jobplane.contracts.queries import Nothing
from jobplane.health.checkup import Checkup


class Handlers:
    """Answers from the latest checkup."""

    def __init__(self, checkup: Checkup) -> None:
        self._checkup = checkup

    async def detailed(self, _query: Nothing) -> DetailedHealth:
        """Everything, at most two seconds old."""
        return await self._checkup.latest()
