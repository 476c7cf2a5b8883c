"""Handlers for tests of faults: one that is done at once, one that takes as long as its payload says."""

import asyncio
from typing import Any

from jobplane.worker import Context, handler


@handler("test.quick")
async def quick(_ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Done at once."""
    return {"echo": payload}


@handler("test.slow")
async def slow(ctx: Context, payload: dict[str, Any]) -> None:
    """Runs for `seconds`."""
    ctx.progress(0.5)
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(payload["seconds"], done.set)
    await done.wait()
