"""Lets a stream forget what its only consumer has acknowledged: many messages at once instead of one by one."""

import json
from collections.abc import Callable
from typing import Any, Final

from nats.errors import Error as NatsError

from jobplane.chassis.bus import Connection
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.topology import ConsumerSpec

EVERY_S: Final = 1.0
_TIMEOUT_S: Final = 2.0


class Trim:
    """Purges a stream up to the oldest message that is not acknowledged, whenever `acknowledged` has moved.

    A work queue deletes each message by itself when it is acknowledged, with a write that is synced to disk.
    """

    def __init__(self, nc: Connection, consumer: ConsumerSpec, acknowledged: Callable[[], int]) -> None:
        self._nc = nc
        self._consumer = consumer
        self._acknowledged = acknowledged
        self._seen = -1

    async def run_once(self) -> None:
        """Look, and purge what nobody needs.

        Raises:
            Unavailable: it could not be purged; the stream fills up if that goes on.
        """
        seen = self._acknowledged()
        if seen == self._seen or not self._nc.is_connected:
            return
        info = await self._ask(f"CONSUMER.INFO.{self._consumer.stream}.{self._consumer.name}")
        floor = info.get("ack_floor", {}).get("stream_seq", 0)
        if floor:
            await self._ask(f"STREAM.PURGE.{self._consumer.stream}", {"seq": floor + 1})
        if info.get("num_ack_pending") == 0:  # otherwise the floor moves once more without a sign
            self._seen = seen

    async def _ask(self, call: str, request: dict[str, int] | None = None) -> dict[str, Any]:
        payload = json.dumps(request).encode() if request else b""
        try:
            message = await self._nc.request(f"$JS.API.{call}", payload, _TIMEOUT_S)
        except (NatsError, OSError) as error:
            msg = f"{call} is not answered: is the user allowed to ask?"
            raise Unavailable(msg) from error
        answer: dict[str, Any] = json.loads(message.data)
        if "error" in answer:
            msg = f"{call} is refused: {answer['error'].get('description', '')}"
            raise Unavailable(msg)
        return answer
