"""What the jobs service answers: the worker protocol on a connection of its own, typed queries through FastStream."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeVar

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from pydantic import BaseModel, ValidationError

from jobplane.chassis import database
from jobplane.chassis.journal import Journal
from jobplane.chassis.micro_batch import MicroBatch
from jobplane.chassis.queries import Broker, serve
from jobplane.contracts import subjects
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.error_groups import ErrorGroupPage, ErrorGroupView, ListErrorGroups, OneErrorGroup
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.jobs import Attempts, History, JobCount, JobPage, JobView, Stats
from jobplane.contracts.operations import (
    OperationItems,
    OperationPage,
    OperationView,
)
from jobplane.contracts.queries import (
    CountJobs,
    JournalFigures,
    ListItems,
    ListJobs,
    ListOperations,
    Nothing,
    OneCommand,
    OneJob,
    OneJobAttempts,
    OneJobHistory,
    OneKind,
    OneOperation,
    OneQueue,
)
from jobplane.contracts.queues import QueueControl, QueueList, QueueView
from jobplane.contracts.workers import Beat, BeatReply, DoneReply, DoneReport, LeaseReply, LeaseRequest
from jobplane.jobs.beats import Beats
from jobplane.jobs.effects import Effects
from jobplane.jobs.error_views import ErrorViews
from jobplane.jobs.histories import Histories
from jobplane.jobs.leases import Leases
from jobplane.jobs.operation_views import OperationViews
from jobplane.jobs.queue_views import QueueViews
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.reports import Reports
from jobplane.jobs.search import Search

log = structlog.get_logger()

_SERVICE: Final = "jobs"
Request = TypeVar("Request", bound=BaseModel)


class WorkerProtocol:
    """Leases, beats and reports; replicas share the work by a queue group. See `contracts.workers`."""

    def __init__(self, nc: Client, leases: Leases, beats: Beats, reports: Reports, effects: Effects) -> None:
        self._nc = nc
        self._leases = leases
        self._effects = effects
        self._beats: MicroBatch[Beat, BeatReply] = MicroBatch(beats.serve, name="beats", most=64)
        self._reports: MicroBatch[DoneReport, DoneReply] = MicroBatch(reports.serve, name="reports", most=64)
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Subscription] = []

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return len(self._tasks)

    async def start(self) -> None:
        """Begin to answer."""
        for subject, answer in (
            (subjects.lease("*"), self._lease),
            (subjects.JOBS_BEAT, self._beat),
            (subjects.JOBS_DONE, self._done),
        ):
            self._subscriptions.append(await self._nc.subscribe(subject, queue=_SERVICE, cb=self._hear(answer)))
        self._subscriptions.append(await self._nc.subscribe(subjects.wake("*"), cb=self._effects.hear))

    async def stop(self) -> None:
        """Leave new requests to other replicas, answer waiting polls with nothing, finish what is being worked on."""
        if self._nc.is_connected:
            for subscription in self._subscriptions:
                await subscription.unsubscribe()
        await self._leases.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def _hear(self, answer: Callable[[Msg], Coroutine[None, None, None]]) -> Callable[[Msg], Awaitable[None]]:
        async def hear(message: Msg) -> None:
            task = asyncio.get_running_loop().create_task(answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return hear

    async def _lease(self, message: Msg) -> None:
        queue = message.subject.rsplit(".", 1)[1]
        await self._answer(message, LeaseRequest, lambda request: self._leases.lease(queue, request), LeaseReply)

    async def _beat(self, message: Msg) -> None:
        await self._answer(message, Beat, self._beats.submit, BeatReply)

    async def _done(self, message: Msg) -> None:
        await self._answer(message, DoneReport, self._reports.submit, DoneReply)

    async def _answer(
        self,
        message: Msg,
        request_type: type[Request],
        work: Callable[[Request], Awaitable[BaseModel]],
        reply_type: type[LeaseReply] | type[BeatReply] | type[DoneReply],
    ) -> None:
        try:
            reply: BaseModel = await work(request_type.model_validate_json(message.data))
        except ValidationError as error:
            reply = reply_type(error="invalid")
            log.info("protocol.invalid", subject=message.subject, detail=json.dumps([e["loc"] for e in error.errors()]))
        except Exception as error:
            if not (isinstance(error, Unavailable) or database.is_away(error)):
                log.exception("protocol.failed", subject=message.subject)
            reply = reply_type(error="unavailable")
        if message.reply:
            await self._send(message.reply, reply.model_dump_json(exclude_none=True).encode())

    async def _send(self, inbox: str, data: bytes) -> None:
        try:
            await self._nc.publish(inbox, data)
        except NatsError as error:
            log.info("protocol.not_answered", error=type(error).__name__)


def serve_queries(
    broker: Broker,
    read_model: ReadModel,
    search: Search,
    histories: Histories,
    unredacted: Histories,
    journal: Journal,
    relayed: Callable[[], int],
) -> None:
    """Answer the queries of `contracts.queries` that are ours."""

    async def page(query: ListJobs) -> JobPage:
        """Jobs that a filter means, in the order that is asked for."""
        return await search.page(query)

    async def count(query: CountJobs) -> JobCount:
        """How many jobs a filter means."""
        return await search.count(query)

    async def one(query: OneJob) -> JobView:
        """One job, whole, now or then."""
        return await histories.detail(query)

    async def secrets(query: OneJob) -> JobView:
        """The same as its workers get it; whoever asks records who sees it."""
        return await unredacted.detail(query)

    async def history(query: OneJobHistory) -> History:
        """The events of one job, oldest first."""
        return await histories.history(query)

    async def attempts(query: OneJobAttempts) -> Attempts:
        """The runs of one job, oldest first."""
        return await histories.attempts(query)

    async def stats(_query: Nothing) -> Stats:
        """Exact counts."""
        return await read_model.stats()

    async def command(query: OneCommand) -> CommandOutcome:
        """The outcome of one command."""
        return await read_model.command(query)

    async def figures(_query: Nothing) -> JournalFigures:
        """How far journal and relay are."""
        return await journal.figures(relayed())

    serve(broker, _SERVICE, "list", ListJobs, page)
    serve(broker, _SERVICE, "count", CountJobs, count)
    serve(broker, _SERVICE, "detail", OneJob, one)
    serve(broker, _SERVICE, "unredacted", OneJob, secrets)
    serve(broker, _SERVICE, "history", OneJobHistory, history)
    serve(broker, _SERVICE, "attempts", OneJobAttempts, attempts)
    serve(broker, _SERVICE, "stats", Nothing, stats)
    serve(broker, _SERVICE, "command", OneCommand, command)
    serve(broker, _SERVICE, "journal", Nothing, figures)


def serve_queues(broker: Broker, views: QueueViews) -> None:
    """Answer the queries of `contracts.queries` about queues and kinds."""

    async def queues(_query: Nothing) -> QueueList:
        """All queues, and the kinds that are controlled."""
        return await views.all()

    async def queue(query: OneQueue) -> QueueView:
        """One queue, whole."""
        return await views.one(query)

    async def kind(query: OneKind) -> QueueControl:
        """How one kind is controlled."""
        return await views.kind(query)

    serve(broker, _SERVICE, "queues", Nothing, queues)
    serve(broker, _SERVICE, "queue", OneQueue, queue)
    serve(broker, _SERVICE, "kind", OneKind, kind)


def serve_operations(broker: Broker, views: OperationViews) -> None:
    """Answer the queries about bulk operations."""

    async def operations(query: ListOperations) -> OperationPage:
        """Operations, newest first."""
        return await views.page(query)

    async def operation(query: OneOperation) -> OperationView:
        """One operation, whole."""
        return await views.one(query)

    async def operation_items(query: ListItems) -> OperationItems:
        """The jobs of one operation, in its order."""
        return await views.items(query)

    serve(broker, _SERVICE, "operations", ListOperations, operations)
    serve(broker, _SERVICE, "operation", OneOperation, operation)
    serve(broker, _SERVICE, "operation_items", ListItems, operation_items)


def serve_errors(broker: Broker, views: ErrorViews) -> None:
    """Answer the queries of `contracts.queries` about error groups."""

    async def errors(query: ListErrorGroups) -> ErrorGroupPage:
        """Error groups, in the order that is asked for."""
        return await views.page(query)

    async def error(query: OneErrorGroup) -> ErrorGroupView:
        """One error group, whole."""
        return await views.one(query)

    serve(broker, _SERVICE, "errors", ListErrorGroups, errors)
    serve(broker, _SERVICE, "error", OneErrorGroup, error)
