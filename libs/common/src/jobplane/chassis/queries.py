"""Typed questions between services: `serve` answers on a FastStream broker, `ask` asks over any connection."""

import contextlib
import functools
import typing
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog
from faststream import BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from pydantic import BaseModel, ValidationError

from jobplane.chassis import bus, database, metrics, tracing
from jobplane.contracts import subjects
from jobplane.contracts.envelope import TRACEPARENT
from jobplane.contracts.errors import InvalidMessage, Refused, Unavailable
from jobplane.contracts.queries import Problem, Reply

log = structlog.get_logger()

_AT_ONCE: Final = 8
"""Answers under way per query; more would only wait for a database connection."""
_HEARD_S: Final = 2
_RETRY_AFTER = "retry_after_s"

Q = TypeVar("Q", bound=BaseModel)
T = TypeVar("T")

_reply_of: Callable[[Any], Any] = functools.cache(Reply.__class_getitem__)  # a type per type, made once


class Broker(NatsBroker):
    """A FastStream broker on one of our connections: it fails fast, reconnects for ever and never declares a stream."""

    def __init__(self, url: str, *, user: str, name: str) -> None:
        super().__init__(
            url,
            name=name,
            inbox_prefix=subjects.inbox_prefix(user),
            middlewares=(_Answering,),
            graceful_timeout=1.0,
            logger=None,
        )
        self._url = url
        self._user = user
        self._name = name

    async def _connect(self) -> Client:
        connection = await bus.connect(self._url, user=self._user, name=self._name)
        self.config.connect(connection)
        return connection

    async def start(self) -> None:
        """Connect and begin to answer: whoever asks from now on is heard."""
        await super().start()
        with contextlib.suppress(NatsError, OSError, TimeoutError):  # away again: it will be heard after a reconnect
            if self._connection is not None:
                await self._connection.flush(timeout=_HEARD_S)

    async def stop(self, *_error: object) -> None:
        """Let answers under way finish, then close; never raises because the bus is away."""
        connection = self._connection
        self._connection = None  # ours to close: the library would raise while the bus is away
        await super().stop()
        if connection is not None:
            await bus.close(connection)


def broker(url: str, user: str, name: str) -> Broker:
    """A broker that is not connected yet; `await broker.start()` connects it and begins to answer."""
    return Broker(url, user=user, name=name)


def serve(
    broker: NatsBroker, service: str, name: str, request_type: type[Q], handler: Callable[[Q], Awaitable[object]]
) -> None:
    """Answer the query `name` of `service` with what `handler` returns, wrapped into a `Reply`.

    Replicas share the work. Refused and Unavailable become the reply's problem with their code, an unreadable request
    becomes ``invalid_request``, anything else is logged and becomes ``internal``.
    """
    reply = _reply_of(typing.get_type_hints(handler).get("return", Any))

    async def answer(request: Q) -> object:
        return reply.model_construct(ok=await handler(request))

    answer.__name__ = answer.__qualname__ = name
    answer.__doc__ = handler.__doc__
    answer.__annotations__ = {"request": request_type, "return": reply}
    broker.subscriber(subjects.query(service, name), queue=service, max_workers=_AT_ONCE, title=name)(answer)


async def ask(
    nc: Client, service: str, name: str, request: BaseModel, reply_type: type[T], timeout_s: float = 2.0
) -> T:
    """Ask `service` the query `name`.

    Raises:
        Refused: the service says no; code and facts are its own.
        Unavailable: it does not answer in time, or says that it cannot just now.
    """
    subject = subjects.query(service, name)
    with tracing.span(f"ask {subject}", kind=tracing.Kind.CLIENT) as span:
        try:
            headers = {TRACEPARENT: span.traceparent}
            message = await nc.request(subject, request.model_dump_json().encode(), timeout_s, headers=headers)
        except NoRespondersError as error:
            raise Unavailable(f"the {service} service is not running") from error
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the {service} service does not answer") from error
    try:
        reply = _reply_of(reply_type).model_validate_json(message.data)
    except ValidationError as error:
        raise InvalidMessage(f"{subject} answered what is not a {reply_type.__name__}") from error
    if reply.problem is not None:
        raise _error_of(reply.problem)
    return typing.cast("T", reply.ok)


class _Answering(BaseMiddleware):
    """One span per question; every error becomes an answer: silence would cost the caller its whole time-out."""

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> object:
        if not msg.reply_to:
            return await call_next(msg)
        subject = msg.raw_message.subject
        seconds = metrics.histogram("jobplane_query_seconds").labels(subject)
        traceparent = msg.headers.get(TRACEPARENT)
        with seconds.time(), tracing.span(f"query {subject}", traceparent=traceparent, kind=tracing.Kind.SERVER):
            try:
                return await call_next(msg)
            except Exception as error:
                problem = _problem_of(error)
                if problem.code == "internal":
                    log.exception("query.failed", subject=subject)
                return Reply[None](problem=problem)


def _problem_of(error: Exception) -> Problem:
    match error:
        case Refused():
            return Problem(code=error.code, detail=error.detail, facts=error.facts)
        case Unavailable():
            return Problem(code=error.code, detail=error.detail, facts={_RETRY_AFTER: error.retry_after_s})
        case ValueError():  # also pydantic's, FastDepends' and JSON's
            return Problem(code="invalid_request", detail=_in_short(error))
    if database.is_away(error):
        return Problem(code="database_unavailable", detail="the database is away", facts={_RETRY_AFTER: 2})
    return Problem(code="internal", detail="the service failed to answer; its log says why", facts={_RETRY_AFTER: 2})


def _in_short(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'request'}: {item['msg']}" for item in error.errors())
    return str(error)


def _error_of(problem: Problem) -> Refused | Unavailable:
    after = problem.facts.get(_RETRY_AFTER)
    if isinstance(after, int):
        return Unavailable(problem.detail, code=problem.code, retry_after_s=after)
    return Refused(problem.code, problem.detail, problem.facts)
