"""Every scenario by name, and the mix of all faults that need no preparation."""

from typing import Final

from tests.chaos import (
    scenarios_bulk,
    scenarios_kill,
    scenarios_messages,
    scenarios_network,
    scenarios_retention,
    scenarios_servers,
)
from tests.chaos.act import Act, Scenario
from tests.chaos.proxy import Proxy, Weather

_MIXED: Final = 8
_VICTIMS: Final = ("jobs", "gateway", "audit", "health", "nats", "postgres", "worker")


def _mix(act: Act) -> None:
    """Some faults one after the other, as the seed says; the next may begin before the last is over."""
    for _ in range(_MIXED):
        _any_fault(act)
        act.pause(0.0, 0.8)


def _any_fault(act: Act) -> None:
    victim = act.dice.choice(_VICTIMS)
    proxy = act.dice.choice((act.stage.bus_proxy, act.stage.database_proxy))
    match act.dice.choice(("kill", "kill", "freeze", "down", "wipe", "slow", "cut", "one way")):
        case "kill":
            act.faults.kill(_process(act, victim))
        case "freeze":
            with act.faults.frozen(_process(act, victim)):
                act.pause(0.5, 3.0)
        case "down":
            outage = act.dice.choice((act.faults.bus_down, act.faults.database_down))
            with outage():
                act.pause(0.2, 2.5)
        case "wipe":
            act.faults.wipe_bus()
        case "slow":
            with act.faults.weather(proxy, Weather(latency_s=act.dice.uniform(0.01, 0.1))):
                act.pause(0.5, 2.0)
        case "cut":
            act.faults.note("cut", connections=proxy.cut())
        case _:
            _one_way(act, proxy)


def _one_way(act: Act, proxy: Proxy) -> None:
    up = act.dice.random() < 0.5
    with act.faults.weather(proxy, Weather(swallow_up=up, swallow_down=not up)):
        act.pause(0.5, 2.0)


def _process(act: Act, victim: str) -> str:
    return act.dice.choice(sorted(act.stage.workers)) if victim == "worker" else victim


MIX: Final = Scenario(
    "mix",
    "several at once",
    f"{_MIXED} faults of any kind, one after the other or overlapping, as the seed says",
    _mix,
)
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        *scenarios_kill.SCENARIOS,
        *scenarios_bulk.SCENARIOS,
        *scenarios_servers.SCENARIOS,
        *scenarios_network.SCENARIOS,
        *scenarios_messages.SCENARIOS,
        *scenarios_retention.SCENARIOS,
        MIX,
    )
}
