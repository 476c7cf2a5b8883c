"""What may start under control: never more at once, never faster, nothing but forced jobs in a pause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobplane.contracts.actors import Actor, ActorKind
from jobplane.contracts.queues import LimitsSet, Pause, Rate
from jobplane.jobs.allowance import Held, interval, keys_of, paid, permit, tokens
from jobplane.jobs.queue import Control, Target

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WHO = Actor(id="account-1", kind=ActorKind.USER)
KINDS = ("a", "b", "c")
TARGETS = (Target("queue", "q"), *(Target("kind", kind) for kind in KINDS))

rates = st.builds(Rate, starts=st.integers(1, 50), every_s=st.sampled_from([1, 7, 60]), burst=st.integers(1, 20))
pauses = st.none() | st.just(Pause(at=NOON, by=WHO))
limits = st.none() | st.builds(
    LimitsSet, concurrency=st.none() | st.integers(1, 9), rate=st.none() | rates, at=st.just(NOON), by=st.just(WHO)
)
controls = st.lists(
    st.builds(Control, st.sampled_from(TARGETS), st.just(1), pauses, limits),
    unique_by=lambda control: control.target.key,
)
steps = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20), st.floats(0, 30)), max_size=25)


@given(controls, steps)
def test_whatever_is_asked_no_limit_is_passed(found: list[Control], asked: list[tuple[int, int, float]]) -> None:
    """Workers ask for as many as they like of all kinds, some runs end, time passes."""
    held = {control.target.key: Held(control) for control in found if control.active}
    running = dict.fromkeys(KINDS, 0)
    starts: dict[str, list[datetime]] = {key: [] for key in held}
    now = NOON
    for most, ends, seconds in asked:
        now += timedelta(seconds=seconds)
        for kind in KINDS:
            running[kind] -= min(running[kind], ends)
        for key, item in held.items():
            held[key] = replace(item, running=_running(key, running))
        allowed = permit(held.values(), "q", KINDS, most, now)
        left = allowed.most
        started: dict[str, int] = {}
        for kind, room in allowed.kinds.items():
            count = min(room, left)
            left -= count
            running[kind] += count
            for key in keys_of("q", [kind]):
                started[key] = started.get(key, 0) + count
                starts.setdefault(key, []).extend([now] * count)
        for key, until in paid(allowed.held, started, now).items():
            held[key] = replace(held[key], paid_until=until)
        for key, item in held.items():
            most_at_once = item.control.limited.concurrency
            assert most_at_once is None or _running(key, running) <= most_at_once
            _is_no_faster(item.control.limited.rate, starts[key])


@given(controls)
def test_in_a_pause_only_forced_jobs_may_start(found: list[Control]) -> None:
    allowed = permit(map(Held, found), "q", KINDS, 10, NOON)
    paused = {control.target.key for control in found if control.paused is not None}
    assert set(allowed.forced) == {kind for kind in allowed.kinds if paused & keys_of("q", [kind])}


@given(rates, st.floats(0, 1000))
def test_a_rate_says_when_the_next_may_start(rate: Rate, seconds: float) -> None:
    limited = Control(TARGETS[0], 1, limits=LimitsSet(rate=rate, at=NOON, by=WHO))
    used = Held(limited, NOON + timedelta(seconds=seconds))
    told = permit([used], "q", ["a"], 1000, NOON)
    there = tokens(rate, used.paid_until, NOON)
    assert told.again_in is not None
    assert tokens(rate, used.paid_until, NOON + told.again_in - timedelta(microseconds=1)) == there
    if there < rate.burst:
        assert tokens(rate, used.paid_until, NOON + told.again_in) == there + 1


def test_a_rest_is_saved_up_to_a_burst() -> None:
    rate = Rate(starts=10, every_s=60, burst=3)
    assert tokens(rate, None, NOON) == 3
    assert tokens(rate, NOON + timedelta(seconds=18), NOON) == 0
    assert tokens(rate, NOON + timedelta(seconds=12), NOON) == 1
    assert tokens(rate, NOON - timedelta(days=9), NOON) == 3


def _running(key: str, running: dict[str, int]) -> int:
    return sum(running.values()) if key == "queue:q" else running[key.removeprefix("kind:")]


def _is_no_faster(rate: Rate | None, starts: list[datetime]) -> None:
    """In no span of time more start than the burst and what the time pays for."""
    if rate is None:
        return
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= rate.burst + (starts[last] - begin) / interval(rate)
