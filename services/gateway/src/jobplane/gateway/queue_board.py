"""Queues as the API shows them: what the jobs service tells, with the names of those who control them."""

from collections.abc import Iterable
from typing import Any

from jobplane.contracts.actors import HUMAN_KINDS
from jobplane.contracts.queries import OneKind, OneQueue
from jobplane.gateway.wiring import Gateway


async def everything(gateway: Gateway) -> dict[str, Any]:
    """Every queue, and the kinds that are controlled."""
    found = await gateway.bus.ask_raw("jobs", "queues")
    await _name(gateway, [*found["queues"], *found["kinds"]])
    return found


async def one(gateway: Gateway, query: OneQueue) -> dict[str, Any]:
    """One queue.

    Raises:
        Refused: `queue_not_found`.
    """
    found = await gateway.bus.ask_raw("jobs", "queue", query)
    await _name(gateway, [found])
    return found


async def kind(gateway: Gateway, query: OneKind) -> dict[str, Any]:
    """How one kind is controlled."""
    found = await gateway.bus.ask_raw("jobs", "kind", query)
    await _name(gateway, [found])
    return found


async def _name(gateway: Gateway, controls: Iterable[dict[str, Any]]) -> None:
    """Fill in who paused and limited them; erased accounts have no name."""
    deeds = [deed for control in controls for deed in (control.get("paused"), control.get("limits")) if deed]
    people = {deed["by"]["id"] for deed in deeds if deed["by"]["kind"] in HUMAN_KINDS}
    names = await gateway.accounts.names(people) if people else {}
    for deed in deeds:
        deed["by_name"] = names.get(deed["by"]["id"])
