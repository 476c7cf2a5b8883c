"""Micro-batches: whatever arrived while the last batch was being worked on becomes the next one (group commit)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from jobplane.chassis import metrics

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class MicroBatch(Generic[Item, Answer]):
    """Gathers items from many callers and works on them in batches, one batch at a time, in order of arrival.

    `work` gets 1 to `most` items and gives one answer per item, in order; an exception of `work` reaches every
    caller of that batch.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, name: str = "batch", most: int = 512
    ) -> None:
        self._work = work
        self._name = name
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, item: Item) -> Answer:
        """Put an item into the next batch and wait for its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def idle(self) -> None:
        """Wait until nothing is waiting and no batch is under way."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                with metrics.batch(self._name, len(batch)):
                    answers = await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - handed to every caller, none is swallowed
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
