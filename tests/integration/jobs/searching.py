"""Jobs of many sorts to search, and queries about them."""

import random
from collections.abc import Sequence
from datetime import timedelta

import psycopg
from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue

from jobplane.chassis import clock
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import DoneItem, DoneReport, ReportedError
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.reports import Reports
from tests.integration.jobs.search_model import Known
from tests.integration.jobs.wishing import command, creation, settle, start
from tests.support.servers import Database

KINDS = ("image.thumb", "image.crop", "mail", "mail.bulk")
QUEUES = ("default", "slow")
TAGS = ("holiday", "x", "customer-7")
WORKERS = ("worker-1", "worker-2")
PEOPLE = tuple(
    Actor(id=f"019a0000-0000-7000-8000-00000000000{n}", kind=ActorKind.USER, role=Role.ADMIN) for n in range(3)
)
ERRORS = (
    ("TimeoutError", "the other side did not answer"),
    ("ValueError", 'no such customer: O\'Brien \\ "quoted"'),
    ("ConnectionResetError", "connection reset by peer 10.0.0.1"),
)
PAYLOADS: tuple[dict[str, JsonValue], ...] = (
    {},
    {"user": 42},
    {"user": "42", "name": "Größe O'Neil"},
    {"user": 42.0, "deep": {"er": [1, "two", {"sku": "A-1"}], "none": None}},
    {"user": 7, "flag": True, "password": "hunter2 zebra", "nested": {"access_token": {"v": "zebra"}}},
    {"a b": {"c.d": "x y"}, "long": "w" * 200},
    {"user": True, "text": "the quick brown fox"},
)
QUERIES = (
    "",
    "status:failed",
    "status:pending,running -queue:slow",
    "kind:image.* -kind:image.crop",
    "kind:mail",
    "tag:holiday,x",
    "-tag:x -status:completed",
    "worker:worker-1",
    "worker:worker-2 status:completed queue:default",
    "queue:slow kind:mail",
    "queue:slow,default kind:mail,mail.bulk status:running,failed -kind:mail.bulk",
    "queue:default kind:image.crop status:pending priority:>=0",
    f"actor:{PEOPLE[1].id}",
    "error:timeouterror",
    'error:"reset by peer"',
    "error:conn*",
    'error:"peer connection"',
    "error:brown",
    "status:failed error:customer priority:>=1",
    "payload.user:42",
    'payload.user:"42"',
    "payload.user:7,true",
    "payload.deep.er:two",
    "payload.deep.er:1 payload.deep.none:null",
    'payload.deep.er.sku:"A-1"',
    'payload."a b"."c.d":"x y"',
    "payload.user:43",
    "zebra",
    "hunter2",
    "fox",
    '"quick brown"',
    '"brown quick"',
    "größe",
    "o'neil",
    "holiday",
    "image",
    '"image thumb"',
    "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww*",
    "qui* status:pending,failed,completed,cancelled",
    "customer",
    '"customer 7"',
    "attempt:1..2 priority:<=0",
    "older:1h",
    "newer:1h",
    "newer:1h older:30m",
    "asset:store/1",
    "fingerprint:0123456789abcdef",
    "42 default",
    "10.0.0.1",
)


async def build(ledger: Ledger, *, count: int, seed: int) -> list[JobId]:
    """Jobs with all sorts of lives; gives their ids, oldest first."""
    dice = random.Random(seed)
    reports = Reports(ledger)
    ids: list[JobId] = []
    for number in range(count):
        wanted = creation(
            dice.choice(QUEUES),
            kind=dice.choice(KINDS),
            tags=dice.sample(TAGS, dice.randrange(3)),
            payload=dice.choice(PAYLOADS),
            priority=dice.randrange(-1, 3),
            max_attempts=dice.choice((1, 3)),
            asset=f"store/{number % 3}" if number % 5 == 0 else None,
            run_at=clock.now() + timedelta(hours=1) if number % 7 == 0 else None,
        )
        ids.append(wanted.job_id)
        await settle(ledger, command(wanted, actor=dice.choice(PEOPLE)))
        await live(ledger, reports, wanted.job_id, dice)
    return ids


async def live(ledger: Ledger, reports: Reports, job_id: JobId, dice: random.Random) -> None:
    """Some steps in the life of a job; those that its state does not allow are refused."""
    for step in dice.choices(("run", "fail", "complete", "cancel", "retry", "force"), k=dice.randrange(5)):
        who = dice.choice(PEOPLE)
        match step:
            case "cancel":
                await settle(ledger, command(CancelJob(job_id=job_id), actor=who))
            case "retry":
                await settle(ledger, command(RetryJob(job_id=job_id), actor=who))
            case _:
                await settle(ledger, command(ForceRunJob(job_id=job_id), actor=who))
        if step not in {"run", "fail", "complete"}:
            continue
        worker = dice.choice(WORKERS)
        try:
            running = await start(ledger, job_id, lease_ms=3_600_000, name=worker)
        except AssertionError:  # it is not PENDING
            continue
        if step != "run" and running.token:
            name, message = dice.choice(ERRORS)
            error = ReportedError(type=name, message=message, retryable=dice.random() < 0.5) if step == "fail" else None
            outcome = "failed" if error else "completed"
            item = DoneItem(job=job_id, token=running.token, outcome=outcome, error=error)  # type: ignore[arg-type]
            await reports.serve([DoneReport(worker=worker, items=[item])])


async def known(pool: AsyncConnectionPool, database: Database) -> list[Known]:
    """Every job there is, newest first."""
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        ids = [row[0] for row in conn.execute("SELECT id::text FROM jobs.job ORDER BY id DESC")]
        acted = conn.execute(
            "SELECT stream_id::text, actor ->> 'id' FROM jobs.event "
            "WHERE type LIKE 'job.%' AND actor ->> 'kind' = 'user'"
        ).fetchall()
    views = await ReadModel(pool).views(ids)
    return [Known(views[job_id], frozenset(actor for job, actor in acted if job == job_id)) for job_id in ids]


async def live_on(ledger: Ledger, ids: Sequence[JobId], *, seed: int) -> None:
    """Some more steps in the lives of some of these jobs."""
    dice = random.Random(seed)
    reports = Reports(ledger)
    for job_id in dice.sample(ids, len(ids) // 2):
        await live(ledger, reports, job_id, dice)
