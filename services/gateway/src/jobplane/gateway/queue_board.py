"""Queues as the API shows them: what the jobs service tells, how fast they go, and who controls them by name."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from jobplane.contracts.errors import Unavailable
from jobplane.contracts.fleet import QueueActivity
from jobplane.contracts.queries import OneKind, OneQueue
from jobplane.gateway import people
from jobplane.gateway.wiring import Gateway

_NOTHING: Final = QueueActivity().model_dump()
_HEALTH_S: Final = 0.5
"""How long to wait for what is nice to know."""


async def everything(gateway: Gateway) -> dict[str, Any]:
    """Every queue, and the kinds that are controlled."""
    found: dict[str, Any]
    found, activity = await asyncio.gather(gateway.bus.ask_raw("jobs", "queues"), _activity(gateway))
    _show(activity, found["queues"])
    await name(gateway, [*found["queues"], *found["kinds"]])
    return found


async def one(gateway: Gateway, query: OneQueue) -> dict[str, Any]:
    """One queue.

    Raises:
        Refused: `queue_not_found`.
    """
    found: dict[str, Any]
    found, activity = await asyncio.gather(gateway.bus.ask_raw("jobs", "queue", query), _activity(gateway))
    _show(activity, [found])
    await name(gateway, [found])
    return found


async def kind(gateway: Gateway, query: OneKind) -> dict[str, Any]:
    """How one kind is controlled."""
    found = await gateway.bus.ask_raw("jobs", "kind", query)
    await name(gateway, [found])
    return found


async def _activity(gateway: Gateway) -> dict[str, Any] | None:
    """What the health service counted; queues can be controlled without it."""
    try:
        return await gateway.bus.ask_raw("health", "queues", timeout_s=_HEALTH_S)
    except Unavailable:
        return None


def _show(activity: dict[str, Any] | None, queues: Iterable[dict[str, Any]]) -> None:
    if activity is None:
        return
    window_s = activity["window_s"]
    for queue in queues:
        lately = activity["queues"].get(queue["queue"], _NOTHING)
        ended = lately["completed"] + lately["failed"]
        counts = {name: lately[name] for name in ("started", "completed", "failed")}
        queue["throughput"] = {"window_s": window_s, **counts, "per_minute": round(ended * 60 / window_s, 1)}
        queue["workers"] = lately["workers"]


async def name(gateway: Gateway, controls: Iterable[dict[str, Any]]) -> None:
    """Fill in who paused and limited them."""
    deeds = [deed for control in controls for deed in (control.get("paused"), control.get("limits")) if deed]
    await people.name(gateway.accounts, deeds, "by")
