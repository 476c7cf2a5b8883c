"""taskiq on a JetStream work queue with fsync; done jobs leave no trace."""

import asyncio
from typing import Any

from nats.js.api import RetentionPolicy, StreamConfig
from taskiq.api import run_receiver_task
from taskiq_nats import PullBasedJetStreamBroker

from tests.bench.peers.driving import Where, batches, started

_TUNED_BATCH = 100


class Peer:
    """See `driving.Peer`."""

    async def open(self, where: Where) -> None:
        """Connect; a broker takes its settings when it is made, so the worker makes another."""
        self._where = where
        self._broker, self._noop, self._started = self._make(1)
        await self._broker.startup()

    def _make(self, batch: int) -> tuple[Any, Any, Any]:
        config = StreamConfig(retention=RetentionPolicy.WORK_QUEUE)
        broker = PullBasedJetStreamBroker(self._where.nats, stream_config=config, pull_consume_batch=batch)
        return broker, broker.task(task_name="noop")(_noop), broker.task(task_name="started")(_tell)

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.shutdown()

    async def enqueue(self, count: int) -> None:
        """It has no batches: 1,000 at the same time."""
        for size in batches(count):
            await asyncio.gather(*(self._noop.kiq() for _ in range(size)))

    async def enqueue_one(self) -> None:
        """One."""
        await self._started.kiq()

    async def unfinished(self) -> int:
        """What is still in the stream."""
        return int((await self._broker.js.stream_info("taskiq_jetstream")).state.messages)

    async def bulk(self, _count: int) -> dict[str, float]:
        """It has none."""
        return {}

    async def work(self, *, tuned: bool) -> None:
        """By default it pulls one at a time."""
        if tuned:
            await self._broker.shutdown()
            self._broker, _, _ = self._make(_TUNED_BATCH)
            await self._broker.startup()
        await run_receiver_task(self._broker)


async def _noop() -> None:
    pass


async def _tell() -> None:
    started()
