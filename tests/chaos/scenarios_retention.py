"""Readers that were away for longer than the bus keeps events."""

from collections.abc import Callable, Sequence
from typing import Final

from tests.chaos.act import Act, Scenario
from tests.chaos.evidence import Evidence

_LOGINS: Final = 8
_KEPT: Final = 4
_COUNTED: Final = ("job.created.v1", "job.started.v1", "job.completed.v1", "job.failed.v1")
_COUNTS: Final = "SELECT sum(created), sum(started), sum(completed), sum(failed) FROM health.minute_rate"
_READ: Final = "SELECT position FROM health.checkpoint WHERE name = 'health.EVT_JOBS'"


def _away(reader: str, streams: Sequence[str]) -> Callable[[Act], None]:
    """The reader is down until each of its streams has lost what it was to read next."""

    def play(act: Act) -> None:
        with act.faults.frozen(reader):
            act.load.reaches(40)
            for _ in range(_LOGINS):
                act.stage.platform.token()
            for stream in streams:
                _drop(act, reader, stream)
            act.faults.note("kill", victim=reader)
            act.stage.kill_frozen(reader)
        act.load.reaches(10)

    return play


def _drop(act: Act, reader: str, stream: str) -> None:
    [(read,)] = act.stage.query(f"SELECT position FROM {reader}.checkpoint WHERE name = %s", f"{reader}.{stream}")
    act.wait(lambda: act.stage.stream_end(stream) > read + _KEPT + 1, f"{stream} gets no events")
    first = act.faults.drop_events(stream, act.dice.randint(1, _KEPT))
    assert first > read + 1, f"{stream} still has what comes behind {read}: it begins at {first}"


def _read_the_journals(act: Act, _evidence: Evidence) -> None:
    """That each event has its entry is an invariant; here is how audit got to know them."""
    log = act.stage.platform.log("audit")
    for stream in ("EVT_JOBS", "EVT_ADMIN"):
        caught_up = [line for line in log.splitlines() if "projection.catches_up" in line and f"audit.{stream}" in line]
        assert caught_up, f"audit did not read the journal of {stream}"


def _counts_are_recounts(act: Act, evidence: Evidence) -> None:
    assert "projection.catches_up" in act.stage.platform.log("health"), "health did not read the journal"
    journal = evidence.journals["EVT_JOBS"]
    act.wait(lambda: act.stage.query(_READ) == [(journal.position,)], "health does not catch up")
    types = [event["type"] for event in journal.events]
    [counted] = act.stage.query(_COUNTS)
    assert counted == tuple(types.count(type_) for type_ in _COUNTED), f"health counted {counted}"


SCENARIOS: Final = (
    Scenario(
        "audit-down",
        "audit or health down for a day",
        "the streams drop what audit was to read next: it reads the pages of both journals, every event has one entry",
        _away("audit", ("EVT_JOBS", "EVT_ADMIN")),
        _read_the_journals,
    ),
    Scenario(
        "health-down",
        "audit or health down for a day",
        "the stream drops what health was to read next: it reads the pages of the journal, its counts are a recount",
        _away("health", ("EVT_JOBS",)),
        _counts_are_recounts,
    ),
)
