"""Ends background tasks for sure."""

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.5


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return when it has ended, however it ended.

    One cancellation may be lost on its way: `asyncio.wait_for` of Python 3.11 drops it when its future is done at the
    same moment, and psycopg raises the failure of a dying connection in its place.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
