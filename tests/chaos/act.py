"""One run of one scenario: build the stage, play, let everything settle, check, report."""

import random
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.chaos import evidence, history
from tests.chaos.checker import Violation, check
from tests.chaos.evidence import Evidence
from tests.chaos.faults import Faults, NotPossible
from tests.chaos.stage import Stage, wait_for
from tests.chaos.workload import Workload, workload

SETTLE_S: Final = 30.0
_WARM: Final = 25
_AFTER: Final = 25
_OPEN: Final = """
SELECT (SELECT count(*) FROM jobs.job WHERE status IN ('PENDING', 'RUNNING') OR stop = 'pending'),
    (SELECT count(*) FROM jobs.operation WHERE status IN ('planning', 'running'))
"""
_HEADS: Final = "SELECT (SELECT pos FROM jobs.journal_head), (SELECT pos FROM gateway.journal_head)"
_READ: Final = "SELECT position FROM audit.checkpoint ORDER BY name DESC"


@dataclass(slots=True)
class Act:
    """What a scenario works with."""

    stage: Stage
    faults: Faults
    load: Workload
    dice: random.Random
    """Decides when and for how long; seeded."""
    http: httpx2.Client
    """An admin of the scenario's own."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What `play` remembers for `afterwards`."""

    def pause(self, low: float, high: float | None = None) -> None:
        """Let time pass: so many seconds, or as the dice say between the two."""
        time.sleep(low if high is None else self.dice.uniform(low, high))

    def create(self, kind: str = "chaos.quick", **payload: object) -> httpx2.Response:
        """Ask for one job, once."""
        body = {"kind": kind, "payload": {"marker": f"act-{self.dice.getrandbits(64):x}"} | payload}
        return self.http.post("/jobs", json=body, headers={"Prefer": "wait=2"})

    def created(self, kind: str = "chaos.quick", **payload: object) -> str:
        """The id of a job that was created at once."""
        answer = self.create(kind, **payload)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job: str) -> dict[str, Any]:
        """A job as the API tells it."""
        told: dict[str, Any] = self.http.get(f"/jobs/{job}").json()
        return told

    def events(self, job: str | None = None) -> list[str]:
        """The types of a job's events, oldest first; of all jobs without one."""
        if job is None:
            rows = self.stage.query("SELECT type FROM jobs.event ORDER BY pos")
        else:
            rows = self.stage.query("SELECT type FROM jobs.event WHERE stream_id = %s ORDER BY version", job)
        return [row[0] for row in rows]

    def wait(self, so: Callable[[], Any], what: str, timeout: float = 15.0) -> None:
        """Wait until something is so, or fail with that sentence."""
        wait_for(so, timeout, what)


def _nothing(_act: Act, _evidence: Evidence) -> None:
    """No more to check than the invariants."""


@contextmanager
def _as_usual(_stage: Stage) -> Iterator[None]:
    yield


Around = Callable[[Stage], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break a platform, and what it promises then."""

    name: str
    row: str
    """The line of the table of faults that it proves."""
    promise: str
    """What it asserts besides the invariants."""
    play: Callable[[Act], None]
    afterwards: Callable[[Act, Evidence], None] = _nothing
    environment: Mapping[str, str] = field(default_factory=dict)
    around: Around = _as_usual
    """A context manager entered before anything starts."""
    workers: int = 2
    clients: int = 3
    missing: str = ""
    """What the product promises here and does not do yet."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one run went."""

    scenario: str
    seed: int
    operations: int
    events: int
    faults: int
    seconds: float
    violations: tuple[Violation, ...] = ()
    left_out: str = ""


def run(scenario: Scenario, seed: int, directory: Path) -> Result:
    """One run; the directory is kept if something was wrong."""
    began = time.monotonic()
    stage = Stage(directory, environment=scenario.environment)
    faults = Faults(stage)
    counted, left_out = [0, 0], ""
    violations: list[Violation] = []
    try:
        with scenario.around(stage):
            try:
                violations = _play(scenario, seed, stage, faults, counted)
            finally:
                stage.stop()
    except NotPossible as reason:
        left_out = str(reason)
    except Exception:  # noqa: BLE001 - whatever goes wrong in one run is its result; the others still run
        violations.append(Violation("run", traceback.format_exc(limit=-4)))
    if not violations:
        stage.remove()
    seconds = time.monotonic() - began
    return Result(scenario.name, seed, counted[0], counted[1], faults.count, seconds, tuple(violations), left_out)


def _play(scenario: Scenario, seed: int, stage: Stage, faults: Faults, counted: list[int]) -> list[Violation]:
    stage.start()
    for number in range(1, scenario.workers + 1):
        stage.start_worker(f"worker{number}")
    key = f"{scenario.name} {seed}"
    violations: list[Violation] = []
    with stage.platform.client() as http, workload(stage, key, clients=scenario.clients) as load:
        act = Act(stage, faults, load, random.Random(key), http)
        played = False
        try:
            load.reaches(_WARM)
            assert act.create().status_code == 201, "nothing can be created before anything is broken"
            scenario.play(act)
            load.reaches(_AFTER)
            played = True
        except AssertionError as broken:
            violations.append(Violation("promise", str(broken)))
        load.finish()
        counted[0] = load.answered
        settle(stage)
        found = evidence.gather(stage.database_url, stage.nats_url)
        counted[1] = sum(len(journal.events) for journal in found.journals.values())
        violations += check(found, history.read(stage.history_directory))
        try:
            if played:
                scenario.afterwards(act, found)
        except AssertionError as broken:
            violations.append(Violation("promise", str(broken)))
    return violations


def settle(stage: Stage) -> None:
    """Wait until nothing is left to do; what remains is noted as stuck."""

    def rests() -> bool:
        open_jobs, open_operations = stage.query(_OPEN)[0]
        heads, read = stage.query(_HEADS)[0], tuple(row[0] for row in stage.query(_READ))
        assert open_jobs == 0, f"{open_jobs} jobs are not finished"
        assert open_operations == 0, f"{open_operations} operations are not finished"
        assert heads == read, f"the journals are at {heads}, audit has read {read}"
        return True

    try:
        wait_for(rests, SETTLE_S, "the platform does not come to rest")
    except AssertionError as error:
        stage.history.note("stuck", detail=str(error))
