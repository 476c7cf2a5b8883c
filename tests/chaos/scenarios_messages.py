"""Messages that come twice, in any order, too many, or as rubbish; wrong clocks."""

import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import httpx2
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from tests.chaos.act import Act, Scenario
from tests.chaos.evidence import Evidence
from tests.chaos.faults import NotPossible
from tests.chaos.protocol import Stutterer
from tests.chaos.stage import Stage

_SMALL_CMD_BYTES: Final = 48 * 1024
_COMMANDS: Final = "jobs.cmd.gateway.*"
_HOUR_S: Final = 3600


class Echo:
    """Hears every command on its way and sends it again: doubled, later, in any order."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)
        self.repeated = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        self._act.stage.on_bus(self._echo)

    async def _echo(self, client: Client) -> None:
        dice = random.Random(self._act.dice.getrandbits(32))
        heard: list[Msg] = []
        seen: set[bytes] = set()

        async def hear(message: Msg) -> None:
            if message.data not in seen:
                seen.add(message.data)
                heard.append(message)

        subscription = await client.subscribe(_COMMANDS, cb=hear)
        while not self._stop.is_set():
            await client.flush()
            some = [heard.pop() for _ in range(min(len(heard), 5))] * 2
            dice.shuffle(some)
            for message in some:
                headers = {k: v for k, v in (message.headers or {}).items() if not k.startswith("Nats-")}
                await client.jetstream().publish(message.subject, message.data, headers=headers, timeout=5)
                self.repeated += 1
            self._stop.wait(dice.uniform(0.01, 0.1))
        await subscription.unsubscribe()


def _duplicates(act: Act) -> None:
    act.faults.note("every command twice, shuffled")
    with Echo(act) as echo:
        act.load.reaches(60)
    assert echo.repeated > 0, "no command was repeated"
    act.facts["repeated"] = echo.repeated


def _no_command_twice(act: Act, evidence: Evidence) -> None:
    made = [
        event["command_id"]
        for event in evidence.journals["EVT_JOBS"].events
        if event["command_id"] is not None and event["type"].startswith("job.")
    ]
    assert len(made) == len(set(made)), f"a command was carried out twice, {act.facts['repeated']} were repeated"


def _stuttering_worker(act: Act) -> None:
    act.faults.note("a worker says everything three times")
    # Of the others' kinds it gets what they leave; of its own whatever there is.
    seed, kinds = str(act.dice.getrandbits(32)), ["chaos.quick", "chaos.fails", "chaos.stutters"]
    stage = act.stage
    with Stutterer(stage.nats_url_as("worker"), "stutterer", seed, stage.history_directory, kinds):
        theirs = [act.created("chaos.stutters") for _ in range(10)]
        act.load.reaches(60)
        act.wait(lambda: {act.job(job)["status"] for job in theirs} == {"COMPLETED"}, "the worker got nothing to do")


def _redelivered(act: Act) -> None:
    """Longer than the server waits for an acknowledgement: what was delivered comes again."""
    with act.faults.frozen("jobs"):
        accepted = [act.create() for _ in range(3)]
        assert {answer.status_code for answer in accepted} == {202}, "a command was not accepted"
        act.pause(6.0, 7.0)
    act.wait(lambda: act.create().status_code == 201, "commands are not decided again")


def _poison(act: Act) -> None:
    act.faults.note("rubbish among the commands")
    rubbish = [b"", b"\xff\xfe not JSON", b"{}", b'{"command_id": 7}', b"[" * 20_000]

    async def send(client: Client) -> None:
        for data in rubbish:
            await client.jetstream().publish("jobs.cmd.gateway.create", data, timeout=5)

    act.stage.on_bus(send)
    act.load.reaches(10)
    act.wait(lambda: act.stage.stream_end("DLQ") >= len(rubbish), "the rubbish is not among the dead letters")
    act.facts["rubbish"] = len(rubbish)


def _dead_letters_say_why(act: Act, _evidence: Evidence) -> None:
    async def read(client: Client) -> list[str | None]:
        js = client.jetstream()
        end = (await js.stream_info("DLQ")).state.last_seq
        found = [await js.get_msg("DLQ", sequence) for sequence in range(1, end + 1)]
        return [(message.headers or {}).get("Jobplane-Dead-Reason") for message in found]

    reasons = act.stage.on_bus(read)
    assert len(reasons) == act.facts["rubbish"], f"{len(reasons)} dead letters of {act.facts['rubbish']}"
    assert all(reasons), f"a dead letter has no reason: {reasons}"


@contextmanager
def _small_command_stream(stage: Stage) -> Iterator[None]:
    """The stream of commands as it is declared, only smaller: the service that owns it never alters an existing one."""
    stage.start_servers()
    config = StreamConfig(
        name="CMD",
        subjects=["jobs.cmd.*.*"],
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_bytes=_SMALL_CMD_BYTES,
    )

    async def create(client: Client) -> None:
        await client.jetstream().add_stream(config)

    stage.on_bus(create)
    yield


def _flood(act: Act) -> None:
    statuses: list[int] = []
    with act.faults.frozen("jobs"):
        while 503 not in statuses and len(statuses) < 400:
            statuses.append(act.create(filler="x" * 500).status_code if not statuses else _asynchronously(act))
        assert statuses[-1] == 503, f"nothing was refused: {set(statuses)}"
        assert _refusal(act) == ("not_accepted", True), "the refusal does not say so, or not when to ask again"
    act.facts["accepted"] = statuses.count(202)
    act.wait(lambda: act.create().status_code == 201, "commands are not accepted again", timeout=25)


def _asynchronously(act: Act) -> int:
    body = {"kind": "chaos.quick", "payload": {"marker": f"flood-{act.dice.getrandbits(64):x}", "filler": "x" * 500}}
    return act.http.post("/jobs", json=body, headers={"Prefer": "respond-async"}).status_code


def _refusal(act: Act) -> tuple[str, bool]:
    answer = act.create(filler="x" * 2000)
    return answer.json().get("code", ""), "Retry-After" in answer.headers


def _accepted_ones_are_done(act: Act, evidence: Evidence) -> None:
    done = sum(1 for outcome in evidence.outcomes.values() if outcome["status"] == "done")
    assert done >= act.facts["accepted"] > 0, f"{act.facts['accepted']} commands were accepted, {done} are done"


def _too_many_requests(act: Act) -> None:
    act.faults.note("more requests than allowed")
    answers: list[httpx2.Response] = []
    while len(answers) < 300 and not (answers and answers[-1].status_code == 429):
        answers.append(act.http.get("/jobs", params={"limit": 1}))
    assert answers[-1].status_code == 429, "nothing was refused"
    assert "Retry-After" in answers[-1].headers, "the refusal does not say when to ask again"


def _build_skew(directory: Path) -> Path:
    """The library that shifts the clock of a process. Raises NotPossible without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotPossible("there is no C compiler for the library that shifts a clock")
    library = directory / "skew.so"
    source = Path(__file__).with_name("skew.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def _skewed_workers(act: Act) -> None:
    library = _build_skew(act.stage.directory)
    for name in list(act.stage.workers):
        act.stage.end_worker(name)
    for name, skew_s in (("fast", _HOUR_S), ("slow", -_HOUR_S)):
        act.faults.note("clock", worker=name, skew_s=skew_s)
        act.stage.start_worker(name, environment={"LD_PRELOAD": str(library), "CHAOS_SKEW_S": str(skew_s)})
    jobs = [act.created("chaos.slow", seconds=5.0) for _ in range(4)]
    act.facts["jobs"] = jobs
    act.load.reaches(30)
    act.wait(lambda: all(act.job(job)["status"] == "COMPLETED" for job in jobs), "long runs do not end", timeout=25)


def _clocks_do_not_count(act: Act, evidence: Evidence) -> None:
    assert "job.orphaned.v1" not in act.events(), "a wrong clock orphaned a run"
    workers = {evidence.jobs[job]["worker"] for job in act.facts["jobs"]}
    assert workers <= {"fast", "slow"}, f"others ran the jobs: {workers}"
    for job in act.facts["jobs"]:
        assert evidence.jobs[job]["run"] == 1, f"{job} needed {evidence.jobs[job]['run']} runs"


SCENARIOS: Final = (
    Scenario(
        "duplicate-commands",
        "duplicate and reordered deliveries",
        "a command that comes three times, in any order, is carried out once",
        _duplicates,
        _no_command_twice,
    ),
    Scenario(
        "redelivered-commands",
        "duplicate and reordered deliveries",
        "commands that are not acknowledged in time come again and are carried out once",
        _redelivered,
    ),
    Scenario(
        "stuttering-worker",
        "duplicate and reordered deliveries",
        "a repeated lease gives the same jobs, a repeated report changes nothing",
        _stuttering_worker,
    ),
    Scenario(
        "poison",
        "poison message",
        "rubbish is dead-lettered with its reason, the consumer goes on",
        _poison,
        _dead_letters_say_why,
    ),
    Scenario(
        "flood-commands",
        "flood",
        "a full command stream refuses (503 with Retry-After); what was accepted is done",
        _flood,
        _accepted_ones_are_done,
        around=_small_command_stream,
    ),
    Scenario(
        "flood-requests",
        "flood",
        "too many requests of one account get 429 with Retry-After",
        _too_many_requests,
        environment={"JOBPLANE_REQUESTS_PER_S": "30"},
    ),
    Scenario(
        "worker-clock-skew",
        "worker clock skew",
        "workers an hour ahead and an hour behind keep their leases: only the database's clock counts",
        _skewed_workers,
        _clocks_do_not_count,
    ),
)
