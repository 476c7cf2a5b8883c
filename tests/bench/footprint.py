"""What the platform takes while nobody uses it: time to start, memory, CPU."""

import asyncio
import shutil

from tests.bench.raw import Readings
from tests.bench.site import Scale, Site
from tools import footprint as tool

_SETTLE_S = 10


async def starts(site: Site, _scale: Scale) -> Readings:
    """One first start and one later start of `jobplane up` with two workers."""
    site.stop()
    directory = site.directory()
    try:
        process, cold = tool.start(directory)
        tool.stop(process)
        process, warm = tool.start(directory)
        tool.stop(process)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {"startup.cold": cold, "startup.warm": warm}


async def idle(site: Site, scale: Scale) -> Readings:
    """Memory, by proportional share, and CPU of all processes, some seconds after the start."""
    site.stop()
    directory = site.directory()
    process, _ = tool.start(directory)
    try:
        await asyncio.sleep(scale.of(_SETTLE_S, 1))
        before = {one.pid: sum(one.cpu_times()[:2]) for one in tool.tree(process)}
        seconds = scale.of(20, 2)
        await asyncio.sleep(seconds)
        spent = sum(sum(one.cpu_times()[:2]) - before.get(one.pid, 0.0) for one in tool.tree(process))
        memory = sum(one.memory_full_info().pss for one in tool.tree(process)) / 1e6
    finally:
        tool.stop(process)
        shutil.rmtree(directory, ignore_errors=True)
    return {"memory.pss": memory, "idle.cpu": spent / seconds * 100}
