"""Connections that are slow, throttled, cut, half open, or held at the worst moment."""

import signal
from collections.abc import Callable
from typing import Final

import httpx2

from tests.chaos.act import Act, Scenario
from tests.chaos.evidence import Evidence
from tests.chaos.proxy import Proxy, Weather

_RECOVERS_S: Final = 50.0
"""A connection to the bus is given up after three pings without an answer, 15 s apart."""
_COMMIT: Final = b"COMMIT"


def _proxy(act: Act, target: str) -> Proxy:
    return act.stage.bus_proxy if target == "bus" else act.stage.database_proxy


def _slow(target: str) -> Callable[[Act], None]:
    def play(act: Act) -> None:
        latency = act.dice.uniform(0.02, 0.12) if target == "bus" else act.dice.uniform(0.005, 0.03)
        with act.faults.weather(_proxy(act, target), Weather(latency_s=latency)):
            act.load.reaches(12)
        with act.faults.weather(_proxy(act, target), Weather(bytes_per_s=act.dice.uniform(60_000, 200_000))):
            act.load.reaches(12)

    return play


def _cut(target: str) -> Callable[[Act], None]:
    def play(act: Act) -> None:
        for _ in range(6):
            act.faults.note("cut", target=target, connections=_proxy(act, target).cut())
            act.pause(0.2, 1.2)

    return play


def _one_way(target: str) -> Callable[[Act], None]:
    """Half open: one direction is swallowed for a while, then the connections break for good."""

    def play(act: Act) -> None:
        for weather in (Weather(swallow_down=True), Weather(swallow_up=True)):
            with act.faults.weather(_proxy(act, target), weather):
                act.pause(1.5, 4.0)
            act.wait(lambda: act.create().status_code == 201, f"the {target} does not come back", _RECOVERS_S)

    return play


def _silent(target: str) -> Callable[[Act], None]:
    """Connections stay open and carry nothing any more, new ones are fine: whoever waits for an answer must give up."""

    def play(act: Act) -> None:
        act.faults.note("silent", target=target, connections=_proxy(act, target).strand())
        try:
            act.wait(lambda: _creates(act), f"silent connections of the {target} are kept", _RECOVERS_S)
        finally:
            _proxy(act, target).cut()

    return play


def _creates(act: Act) -> bool:
    """Whether a job can be created; our own patience with one request is shorter than what is allowed."""
    try:
        return act.create().status_code == 201
    except httpx2.TimeoutException:
        return False


def _killed_before_commit(act: Act) -> None:
    """The jobs service dies with a COMMIT that never reached the database: rolled back, decided on redelivery."""
    for _ in range(2):
        held = Weather(users=frozenset({"jobplane_jobs"}), hold_at=_COMMIT)
        with act.faults.weather(act.stage.database_proxy, held):
            _kill_when(act, held)
        act.load.reaches(10)


def _killed_after_commit(act: Act) -> None:
    """It dies after the commit, before it heard of it: the outcome is stored and found on redelivery."""
    for _ in range(2):
        deaf = Weather(users=frozenset({"jobplane_jobs"}), swallow_after=_COMMIT)
        with act.faults.weather(act.stage.database_proxy, deaf):
            _kill_when(act, deaf)
        act.load.reaches(10)


def _kill_when(act: Act, weather: Weather) -> None:
    assert weather.held.wait(10), "no transaction came to its end"
    act.pause(0.05, 0.3)
    act.faults.note("kill", victim="jobs")
    pid = act.stage.signal("jobs", signal.SIGKILL)
    act.stage.database_proxy.clear()
    act.wait(lambda: act.stage.pid("jobs") != pid, "jobs is not started again")


def _nothing_was_doubled(act: Act, evidence: Evidence) -> None:
    """No command made two events of its kind (I3 checks the other direction)."""
    commands = [
        event["command_id"]
        for event in evidence.journals["EVT_JOBS"].events
        if event["command_id"] is not None and event["type"].startswith("job.")
    ]
    assert len(commands) == len(set(commands)), f"a command was carried out twice ({len(act.events())} events)"


SCENARIOS: Final = (
    *(
        Scenario(f"slow-{target}", "slow connections", "everything goes on, only later", _slow(target))
        for target in ("bus", "database")
    ),
    *(
        Scenario(f"cut-{target}", "connections are cut", "everything connects again, nothing is lost", _cut(target))
        for target in ("bus", "database")
    ),
    *(
        Scenario(
            f"half-open-{target}",
            "half-open connections",
            "one direction is swallowed, then they break: everything connects again, nothing is lost",
            _one_way(target),
        )
        for target in ("bus", "database")
    ),
    *(
        Scenario(
            f"silent-{target}",
            "half-open connections",
            f"open connections carry nothing any more: given up and made anew within {_RECOVERS_S:.0f} s",
            _silent(target),
        )
        for target in ("bus", "database")
    ),
    Scenario(
        "kill-jobs-before-commit",
        "jobs killed in a transaction",
        "the batch is rolled back; its commands are delivered again and decided once",
        _killed_before_commit,
        _nothing_was_doubled,
    ),
    Scenario(
        "kill-jobs-after-commit",
        "jobs killed after commit before reply",
        "the stored outcome is found on redelivery or by the repeated request",
        _killed_after_commit,
        _nothing_was_doubled,
    ),
)
