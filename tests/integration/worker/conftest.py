"""A worker in this process, and the scripted other side of its protocol."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from jobplane.worker.handlers import Handlers
from jobplane.worker.settings import WorkerSettings
from jobplane.worker.worker import work
from tests.integration.worker.fake_jobs import FakeJobs
from tests.support.servers import Bus

Start = Callable[..., Awaitable[asyncio.Event]]


@pytest.fixture
async def jobs(bus: Bus) -> AsyncIterator[FakeJobs]:
    """The scripted jobs service."""
    fake = await FakeJobs.start(bus)
    yield fake
    await fake.stop()


@pytest.fixture
def handlers() -> Handlers:
    """Handlers of this test only."""
    return Handlers()


@pytest.fixture
async def start(bus: Bus, handlers: Handlers) -> AsyncIterator[Start]:
    """A function that starts a worker with `handlers`; setting the event it gives, or the end of the test, stops it."""
    async with AsyncExitStack() as running:

        async def started(**settings: Any) -> asyncio.Event:
            return await running.enter_async_context(working(bus, handlers, **settings))

        yield started


@asynccontextmanager
async def working(bus: Bus, handlers: Handlers, **settings: Any) -> AsyncIterator[asyncio.Event]:
    """A worker while the block lasts; setting the event stops it earlier."""
    told: dict[str, Any] = {
        "instance": "w-1",
        "nats_url": SecretStr(bus.url("worker")),
        "worker_drain_s": 0.2,
    } | settings
    stop = asyncio.Event()
    task = asyncio.create_task(work(WorkerSettings(**told), handlers, stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task
