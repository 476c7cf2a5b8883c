"""Commands over HTTP: how long one takes by itself, and how many 32 clients get through."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.raw import Readings
from tests.bench.site import Cpu, Scale, Site
from tests.support.platform import Platform

_JOBS = "/api/admin/jobs"
_WISH = b'{"kind":"bench.parked","queue":"parked","payload":{"n":1}}'
_CLIENTS = 32
_VISIBLE_S = 30


class Watch:
    """Follows the live stream, and remembers when each new job was first seen there."""

    def __init__(self) -> None:
        self.seen: dict[bytes, float] = {}
        self._changed = asyncio.Event()

    async def follow(self, client: HttpClient) -> None:
        """Read until cancelled."""
        async for block in client.events("/api/admin/live"):
            if b"event: job.created" in block:
                at = block.index(b'"subject":"') + 11
                self.seen[block[at : at + 36]] = time.perf_counter()
                self._changed.set()

    async def until(self, job: bytes) -> float:
        """When that job was seen, as soon as it is."""
        async with asyncio.timeout(_VISIBLE_S):
            while job not in self.seen:
                self._changed.clear()
                await self._changed.wait()
        return self.seen[job]


@contextlib.asynccontextmanager
async def _watching(platform: Platform, token: str) -> AsyncIterator[Watch]:
    watch = Watch()
    client = await HttpClient.connect(platform.url, token)
    following = asyncio.create_task(watch.follow(client))
    sender = await HttpClient.connect(platform.url, token)
    try:
        await watch.until(await _create(sender))  # the stream is followed from now on
        yield watch
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.close()
        await sender.close()


async def _create(client: HttpClient) -> bytes:
    status, body = await client.post(_JOBS, _WISH)
    assert status == 201, body
    at = body.index(b'"id":"') + 6
    return body[at : at + 36]


async def idle(site: Site, scale: Scale) -> Readings:
    """One command after the other, until it is answered and until a follower of the live stream sees it."""
    platform = site.platform
    token = platform.token()
    client = await HttpClient.connect(platform.url, token)
    answered, visible = [], []
    async with _watching(platform, token) as watch:
        for number in range(scale.of(500, 60)):
            began = time.perf_counter()
            job = await _create(client)
            ended = time.perf_counter()
            seen = await watch.until(job)
            if number >= scale.of(50, 10):
                answered.append((ended - began) * 1e3)
                visible.append((seen - began) * 1e3)
    await client.close()
    return {
        "command.answered.p50": percentile(answered, 0.5),
        "command.answered.p99": percentile(answered, 0.99),
        "command.visible.p50": percentile(visible, 0.5),
        "command.visible.p99": percentile(visible, 0.99),
    }


async def together(site: Site, scale: Scale) -> Readings:
    """32 clients at the same time; over when all is answered and seen."""
    platform = site.platform
    token = platform.token()
    clients = [await HttpClient.connect(platform.url, token) for _ in range(_CLIENTS)]
    each = scale.of(150, 8)
    took: list[float] = []

    async def one(client: HttpClient) -> list[bytes]:
        made = []
        for _ in range(each):
            began = time.perf_counter()
            made.append(await _create(client))
            took.append((time.perf_counter() - began) * 1e3)
        return made

    async with _watching(platform, token) as watch:
        cpu = Cpu(platform)
        began = time.perf_counter()
        made = await asyncio.gather(*map(one, clients))
        for jobs in made:
            for job in jobs:
                await watch.until(job)
        seconds = time.perf_counter() - began
        used = cpu.used()
    for client in clients:
        await client.close()
    commands = each * _CLIENTS
    return {
        "command.32.rate": commands / seconds,
        "command.32.p50": percentile(took, 0.5),
        "command.32.p99": percentile(took, 0.99),
    } | {f"command.cpu.{name}": spent / commands * 1e3 for name, spent in used.items()}
