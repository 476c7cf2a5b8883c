"""What the measured worker runs: nothing, as fast as it can, or something slow."""

import asyncio
import time
from typing import Any

from jobplane.worker import Context, handler


@handler("bench.noop")
async def noop(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Nothing."""


@handler("bench.started")
async def started(_ctx: Context, _payload: dict[str, Any]) -> int:
    """When it started, by the clock that all processes of a machine share."""
    return time.monotonic_ns()


@handler("bench.failing")
async def failing(_ctx: Context, _payload: dict[str, Any]) -> None:
    """What a retry is for."""
    raise ConnectionError("the other side hung up")


@handler("bench.slow")
async def slow(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Longer than any measurement."""
    await asyncio.sleep(600)
