"""The whole of job control against a model: any order, everything twice, crashes at every commit; `just machine`."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jobplane.contracts.jobs import FINISHED
from tests.machine import asking, service, truth
from tests.machine.model import Asked, Model
from tests.machine.mutants import MUTANTS, ORDINARY, Mutant
from tests.machine.service import ARCHIVED_AFTER, Service, Site
from tests.support import servers
from tests.support.servers import Database

START: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
EXAMPLES: Final = int(os.environ.get("JOBPLANE_MACHINE_EXAMPLES", "8"))
"""More of them, and other ones each time, make a long run."""
LONG: Final = EXAMPLES > 100
STEPS: Final = 30
EVENTS: Final = {
    "job.archived.v1",
    "job.cancelled.v1",
    "job.completed.v1",
    "job.created.v1",
    "job.edited.v1",
    "job.failed.v1",
    "job.finished_anyway.v1",
    "job.force_run.v1",
    "job.orphaned.v1",
    "job.released.v1",
    "job.restored.v1",
    "job.retried.v1",
    "job.started.v1",
    "job.stop_confirmed.v1",
    "job.stop_unconfirmed.v1",
}
MET: Final = (
    {"crash", "in chunks", "undone", "changed_since", "unique_key_taken", *EVENTS} if LONG else {"crash", "done"}
)
"""What has to happen in some of the histories; otherwise they prove less than they seem to."""
CRASH: Final = st.sampled_from([None, None, None, None, "before", "after"])

TURNS: Final = (
    *(["ask"] * 6),
    *(["operate"] * 8),
    *(["lease"] * 4),
    *(["report"] * 5),
    *(["time_passes"] * 3),
    *(["schedule"] * 2),
    *(["rescue"] * 3),
    "archive",
    *(["plan"] * 2),
    *(["chunk"] * 4),
    *(["let_operations_run"] * 3),
)
"""Whose turn it may be, as often as it should."""


class Machine(RuleBasedStateMachine):
    """One history."""

    site: Site
    met: Counter[str]
    """What happened in all histories together: events, answers, ends of operations, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.service = Service(self.site, START)
        self.model = Model(START)
        self.numbers = count(1)
        self.sent: list[Asked] = []
        """Everything that was ever on the bus: any of it may come again."""
        self.waiting: list[Asked] = []
        """What is not acknowledged: it comes again for certain."""
        self.runs: list[tuple[str, str, str]] = []
        """Job, worker and token of every run that a worker heard of."""
        self.well = False
        """Nothing was wrong after the latest step."""

    def teardown(self) -> None:
        """What is left on the bus comes to its end, and so do the operations."""
        try:
            if self.well:
                self._deliver(self.waiting, None)
                self._let_operations_run()
                truth.check(self.site.conn, self.model)
                self._count()
        finally:
            self.service.close()

    def _count(self) -> None:
        for job in (self.model.jobs | self.model.gone).values():
            self.met.update(job["told"])
        self.met.update(f"{code or status}" for status, code, _ in self.model.outcomes.values())
        for operation in self.model.operations.known.values():
            self.met.update([f"{operation.action} {operation.status}", *operation.codes])
            self.met["undone"] += operation.undo_of is not None and operation.done > 0
            self.met["in chunks"] += operation.next_chunk > 1
        self.met["crash"] += self.service.crashes

    @invariant()
    def everything_is_as_believed(self) -> None:
        self.well = False
        truth.check(self.site.conn, self.model)
        self.well = True

    # People.

    @initialize(data=st.data())
    def some_jobs(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(6, 12))):
            verb, target, says = asking.creation(data, self.model, self._id)
            self._send([(verb, target, says, None)], data)
            self._deliver(self.waiting, None)
            if says["unique_key"] is not None:  # the next one can have it
                self._send([("cancel", target, {}, None)], data)
                self._deliver(self.waiting, None)
        for job_id in list(self.model.jobs)[::3]:
            self._send([("cancel", job_id, {}, None)], data)
        for queue in asking.QUEUES:
            self._take(queue, list(asking.KINDS), 3, "w1", None)
        for run in self.runs[::2]:
            self._hear([(run, ("failed", "First", False))], "w1", None, twice=False)

    @rule(data=st.data(), turn=st.sampled_from(TURNS), crash=CRASH)
    def something_happens(self, data: st.DataObject, turn: str, crash: str | None) -> None:
        """One rule for all: of several, Hypothesis leaves out some in each history, and nothing comes to its end."""
        possible = {
            "report": bool(self.runs),
            "plan": bool(self._in("planning")),
            "chunk": bool(self._in("running", "paused", "stopped")),
            "let_operations_run": bool(self._in("running")),
        }
        act = turn if possible.get(turn, True) else "ask"
        getattr(self, f"_{act}")(data, crash)

    def _ask(self, data: st.DataObject, crash: str | None) -> None:
        about = data.draw(st.sampled_from(["jobs", "jobs", "jobs", "queues", "queues", "operations"]))
        many = data.draw(st.integers(1, 4)) if about == "jobs" else 1
        wanted = [asking.command(data, self.model, self._id, about) for _ in range(many)]
        self._send(wanted, data)
        again = data.draw(st.lists(st.sampled_from(self.sent), max_size=2))
        some = data.draw(st.permutations([*self.waiting[-5:], *again]))
        self._deliver(some, crash)

    def _id(self) -> str:
        """In the order of making, in any shard, made now by the machine's clock."""
        n = next(self.numbers)
        ms = int(self.model.now.timestamp() * 1000)
        return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{n:010x}{(n * 7) % 256:02x}"

    def _send(self, wanted: list[tuple[str, str, dict[str, Any], int | None]], data: st.DataObject) -> None:
        for verb, target, says, version in wanted:
            who = data.draw(st.sampled_from(["ada", "ada", "ada", "bob", "eve"]))
            asked = Asked(
                self._id(),
                verb,
                target,
                says,
                actor=who,
                superadmin=who == "eve",
                reason=data.draw(st.sampled_from(["because", "because", None])),
                expires_at=self.model.now + data.draw(st.sampled_from([timedelta(hours=1), timedelta(seconds=20)])),
                expected_version=version,
            )
            self.sent.append(asked)
            self.waiting += [asked] * data.draw(st.sampled_from([1, 1, 2]))
            if data.draw(st.integers(0, 15)) == 15:
                self.waiting.append(replace(asked, other_body=True))

    def _deliver(self, some: list[Asked], crash: str | None) -> None:
        """Commands about jobs in one transaction, each of the others in its own; a crash leaves them unacknowledged."""
        of_jobs = [asked for asked in some if asked.of_job]
        groups = [of_jobs] if of_jobs else []
        groups += [[asked] for asked in some if not asked.of_job]
        for number, group in enumerate(groups):
            strikes = crash if number == len(groups) - 1 else None
            answers = self.service.live(self.service.handle([asking.message(asked) for asked in group]), strikes)
            if strikes != "before":
                believed = self.model.deliver(group)
                if answers is not None:
                    told = [(answer.status, answer.code) for answer in answers]
                    expected = [(status, self._explained(code, job)) for status, code, job in believed]
                    assert told == expected
            if strikes is None:
                for asked in group:
                    if asked in self.waiting:
                        self.waiting.remove(asked)

    def _explained(self, code: str | None, job: str | None) -> str | None:
        """Whoever asks about an archived job is told that it was."""
        return "job_archived" if code == "job_not_found" and job in self.model.gone else code

    # Workers.

    def _lease(self, data: st.DataObject, crash: str | None) -> None:
        queue = data.draw(st.sampled_from(asking.QUEUES))
        kinds = data.draw(st.sampled_from([list(asking.KINDS), list(asking.KINDS), [asking.KINDS[0]]]))
        most, worker = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["w1", "w2"]))
        self._take(queue, kinds, most, worker, crash)

    def _take(self, queue: str, kinds: list[str], most: int, worker: str, crash: str | None) -> None:
        request = service.request(worker, kinds, most)
        leased = self.service.live(self.service.lease(queue, request), crash)
        if crash == "before":
            return
        expected = self.model.claim(queue, kinds, most)
        if leased is None:
            leased = self.service.live(self.service.given(request))
            assert leased is not None
            assert {job.job for job in leased} == {job["id"] for job in expected}
        else:
            assert [job.job for job in leased] == [job["id"] for job in expected]
        tokens = {job.job: job.token for job in leased}
        for job in expected:
            self.model.start(job, worker, tokens[job["id"]])
            self.runs.append((job["id"], worker, tokens[job["id"]]))

    def _report(self, data: st.DataObject, crash: str | None) -> None:
        twice = data.draw(st.booleans())
        recent = self.runs[-6:]
        some = data.draw(st.lists(st.sampled_from(recent), min_size=1, max_size=3))
        reports = [(run, data.draw(asking.REPORTS)) for run in some]
        self._hear(reports, some[0][1], crash, twice=twice)

    def _hear(self, reports: list[Any], worker: str, crash: str | None, *, twice: bool) -> None:
        items = [asking.done_item(run, outcome) for run, outcome in reports]
        answers = self.service.live(self.service.report(worker, items), crash)
        if crash != "before":
            self._reported(reports, answers)
        if crash is not None or twice:
            self._reported(reports, self.service.live(self.service.report(worker, items)))

    def _reported(self, reports: list[Any], answers: list[str] | None) -> None:
        believed = [
            self.model.report(job, token, outcome, error, retryable=retryable)
            for (job, _, token), (outcome, error, retryable) in reports
        ]
        assert answers is None or answers == believed

    # Time, and what happens by itself.

    def _time_passes(self, data: st.DataObject, _crash: str | None) -> None:
        seconds = data.draw(st.sampled_from([1, 5, 31, 31, 31, 600, 600, 7300, 90_000]))
        self.model.now += timedelta(seconds=seconds)
        self.service.set_clock(self.model.now)

    def _schedule(self, _data: st.DataObject, _crash: str | None) -> None:
        self.service.live(self.service.schedule())
        self.model.schedule()

    def _rescue(self, data: st.DataObject, crash: str | None) -> None:
        what = data.draw(st.sampled_from(["expired", "overdue", "unsettled"]))
        self.service.live(self.service.rescue(what), crash)
        if crash != "before":
            self.model.rescue(what)

    def _archive(self, data: st.DataObject, crash: str | None) -> None:
        status = data.draw(st.sampled_from(sorted(FINISHED)))
        before = self.service.crashes
        self.service.live(self.service.archive(status), crash)
        if crash != "before" or self.service.crashes == before:
            self.model.archive(status, ARCHIVED_AFTER)

    # Operations.

    def _operate(self, data: st.DataObject, crash: str | None) -> None:
        """Somebody wants something of an operation, and it is done to some extent."""
        before = set(self.model.operations.known)
        self._send([asking.command(data, self.model, self._id, "operations")], data)
        self._deliver(self.waiting[-1:], None)
        for operation_id in sorted(self.model.operations.known.keys() - before):
            self._plan_one(operation_id, crash)
        for _ in range(data.draw(st.integers(0, 2))):
            if self._in("running"):
                self._chunk(data, crash)
        if data.draw(st.booleans()):
            self._let_operations_run()

    def _plan(self, data: st.DataObject, crash: str | None) -> None:
        self._plan_one(data.draw(st.sampled_from(self._in("planning"))), crash)

    def _plan_one(self, operation_id: str, crash: str | None) -> None:
        operation = self.model.operations.known[operation_id]
        self.service.live(self.service.plan(operation.id), crash)
        if crash != "before":
            self.model.operations.planned(operation, self.model.now)

    def _chunk(self, data: st.DataObject, crash: str | None) -> None:
        operation = self.model.operations.known[data.draw(st.sampled_from(self._in("running", "paused", "stopped")))]
        self.service.live(self.service.carry_out(operation.id, operation.action), crash)
        if crash != "before":
            self.model.operations.carry_out(operation, self.model.now)

    def _let_operations_run(self, _data: object = None, _crash: str | None = None) -> None:
        """All that is due: each operation whole, or one chunk of it where it has a rate; what is over ends."""
        self.service.live(self.service.run_operations())
        known, now = self.model.operations, self.model.now
        while due := [one for _, one in sorted(known.known.items()) if one.is_due(now)]:
            for operation in due:
                if operation.next_chunk >= operation.chunks:
                    known.finish(operation)
                    continue
                for _ in range(operation.chunks if operation.rate is None else 1):
                    known.carry_out(operation, now)

    def _in(self, *statuses: str) -> list[str]:
        return [one.id for one in self.model.operations.known.values() if one.status in statuses]


@pytest.fixture(scope="module")
def site(migrated_template: Database) -> Iterator[Site]:
    """One database for all histories."""
    database = servers.copy_of(migrated_template)
    with Site.of(database) as prepared:
        yield prepared
    servers.drop(database)


def live(site: Site, examples: int, *phases: Phase, derandomize: bool = True) -> Counter[str]:
    """So many histories; gives what was met in them."""

    class OnSite(Machine):
        pass

    OnSite.site, OnSite.met = site, Counter()
    run_state_machine_as_test(
        OnSite,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize=derandomize,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return OnSite.met


@pytest.mark.timeout(0 if LONG else 120)
def test_whatever_comes_in_whatever_order_the_service_is_what_the_model_believes(site: Site) -> None:
    phases = [Phase.generate, Phase.shrink] if LONG else [Phase.generate]
    met = live(site, EXAMPLES, *phases, derandomize=not LONG)
    for what, times in sorted(met.items()):
        sys.stdout.write(f"{what}: {times}\n")
    assert met["crash"] > EXAMPLES
    # Of histories drawn at random some may lack what is rare; those that are the same each time have everything.
    assert LONG or met.keys() >= MET


@pytest.mark.parametrize("mistake", MUTANTS if LONG else ORDINARY)
def test_a_mistake_is_found(site: Site, mistake: Mutant) -> None:
    with mistake(), pytest.raises((AssertionError, psycopg.Error)):
        live(site, 200 if LONG else 40, Phase.generate)
