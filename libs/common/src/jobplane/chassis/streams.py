"""Creates the streams and durable consumers that a service owns and lacks, compares the others, alters none."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.contracts.topology import CONSUMERS, STREAMS, ConsumerSpec, StreamSpec

log = structlog.get_logger()

Config = dict[str, Any]

_NANO: Final = 1_000_000_000
_TIMEOUT_S: Final = 5.0
_PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.05
_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014
_EXISTS_OTHERWISE: Final = frozenset({10058, 10148})  # somebody created it at the same time
_NOT_YET: Final = frozenset({10008, 10039, 10076})  # a server that is still starting, a cluster without a leader
_SERVER_FAILED: Final = 500  # e.g. it is still removing the files of what was deleted under the same name
_FAILURES: Final = 20
FATAL: Final = ("subjects", "retention", "storage")
"""Settings of a stream that stop the start when they differ."""


class TopologyDrift(JobplaneError):
    """A stream is not what the program was written for, in a way that loses or misplaces messages."""


class ApiError(JobplaneError):
    """JetStream understood a request and says no; `code` is its own."""

    def __init__(self, call: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"JetStream refuses {call}: {error.get('description', error)}")
        self.code = int(error.get("err_code", 0))


async def ensure(nc: Client, owner: str) -> list[str]:
    """Create what `owner` lacks; gives one sentence per harmless difference (it degrades health).

    A journal's stream is only compared: its relay makes it (`create`), because the journal knows where it begins.
    JetStream that is still starting is waited for.

    Raises:
        TopologyDrift: subjects, retention or storage of a stream differ.
        Unavailable: JetStream does not answer.
    """
    drifts: list[str] = []
    try:
        async with asyncio.timeout(_PATIENCE_S):
            for spec in STREAMS:
                if spec.owner == owner:
                    drifts += await _ensure_stream(nc, spec, None if spec.journal else 1)
            for consumer in CONSUMERS:
                if _owner_of(consumer) == owner:
                    drifts += await _ensure_consumer(nc, consumer)
    except TimeoutError as error:
        raise Unavailable("JetStream does not answer", code="bus_unavailable") from error
    for drift in drifts:
        log.warning("streams.drift", detail=drift)
    return drifts


async def create(nc: Client, spec: StreamSpec, first_sequence: int = 1) -> None:
    """Create one stream whose first message will have `first_sequence`. Does nothing if it exists.

    Raises:
        TopologyDrift: it exists, but is another in subjects, retention or storage.
        Unavailable: JetStream does not answer.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await _ensure_stream(nc, spec, first_sequence)
    except TimeoutError as error:
        raise Unavailable("JetStream does not answer", code="bus_unavailable") from error


async def differences(nc: Client, spec: StreamSpec | ConsumerSpec) -> dict[str, str] | None:
    """How a stream or consumer differs from what is declared, as text by setting; None if it does not exist.

    Creates nothing, so a user who may only look is enough.

    Raises:
        JobplaneError: JetStream does not answer, or does not let us look.
    """
    if isinstance(spec, StreamSpec):
        found = await _find(nc, f"STREAM.INFO.{spec.name}", _STREAM_NOT_FOUND)
        wanted = _stream_config(spec)
    else:
        found = await _find(nc, f"CONSUMER.INFO.{spec.stream}.{spec.name}", _CONSUMER_NOT_FOUND, _STREAM_NOT_FOUND)
        wanted = _consumer_config(spec)
    return None if found is None else _differences(wanted, found["config"])


async def _ensure_stream(nc: Client, spec: StreamSpec, first_sequence: int | None) -> list[str]:
    """Compare the stream, or create it if a first sequence is given."""
    wanted = _stream_config(spec)
    found = await _find(nc, f"STREAM.INFO.{spec.name}", _STREAM_NOT_FOUND)
    if found is None:
        if first_sequence is None:
            return []
        config = wanted | ({"first_seq": first_sequence} if first_sequence > 1 else {})
        if await _create(nc, f"STREAM.CREATE.{spec.name}", config):
            log.info("streams.created", stream=spec.name, first_sequence=first_sequence)
            return []
        found = await api(nc, f"STREAM.INFO.{spec.name}")
    differences = _differences(wanted, found["config"])
    if "retention" in differences and first_sequence is not None and await _deleted_if_empty(nc, spec, found):
        return await _ensure_stream(nc, spec, first_sequence)
    for key in FATAL:
        if key in differences:
            raise TopologyDrift(f"the stream {spec.name} has another {key} than declared: {differences[key]}")
    return [f"the stream {spec.name} has another {key} than declared: {text}" for key, text in differences.items()]


async def _deleted_if_empty(nc: Client, spec: StreamSpec, found: Config) -> bool:
    """Delete a stream that keeps messages by another rule, which cannot be changed, if it has none.

    Raises:
        TopologyDrift: it has some.
    """
    if spec.journal:
        return False
    config: Config = found["config"]
    closed = config | {"subjects": [f"replaced.{spec.name}"]}
    waiting = found["state"]["messages"]
    if not waiting:  # nobody is told any more that a message is kept, then it is looked at once more
        waiting = (await api(nc, f"STREAM.UPDATE.{spec.name}", closed))["state"]["messages"]
        if waiting:
            await api(nc, f"STREAM.UPDATE.{spec.name}", config)
    if waiting:
        msg = (
            f"the stream {spec.name} was made by an earlier version and still holds {waiting} messages: "
            "start that version once more until they are worked on, then this one"
        )
        raise TopologyDrift(msg)
    await api(nc, f"STREAM.DELETE.{spec.name}")
    log.warning("streams.replaced", stream=spec.name, retention=config.get("retention"))
    return True


async def _ensure_consumer(nc: Client, spec: ConsumerSpec) -> list[str]:
    wanted = _consumer_config(spec)
    place = f"{spec.stream}.{spec.name}"
    found = await _find(nc, f"CONSUMER.INFO.{place}", _CONSUMER_NOT_FOUND)
    if found is None:
        request = {"stream_name": spec.stream, "config": wanted, "action": "create"}
        if await _create(nc, f"CONSUMER.CREATE.{place}.{spec.filter_subject}", request):
            log.info("streams.consumer_created", stream=spec.stream, consumer=spec.name)
            return []
        found = await api(nc, f"CONSUMER.INFO.{place}")
    differences = _differences(wanted, found["config"])
    return [f"the consumer {place} has another {key} than declared: {text}" for key, text in differences.items()]


def _stream_config(spec: StreamSpec) -> Config:
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "limits",
        "storage": "file",
        "discard": "new" if spec.discard_new else "old",
        "max_bytes": spec.max_bytes,
        "max_age": int(spec.max_age.total_seconds() * _NANO) if spec.max_age is not None else 0,
        "allow_atomic": spec.journal or spec.atomic,
        "allow_direct": spec.journal,
        "deny_delete": spec.journal,
        "deny_purge": spec.journal,
    }


def _consumer_config(spec: ConsumerSpec) -> Config:
    return {
        "durable_name": spec.name,
        "name": spec.name,
        "filter_subject": spec.filter_subject,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(spec.backoff[0].total_seconds() * _NANO),
        "backoff": [int(pause.total_seconds() * _NANO) for pause in spec.backoff],
        "max_deliver": -1,
        "max_ack_pending": spec.max_ack_pending,
    }


def _differences(wanted: Config, found: Config) -> dict[str, str]:
    """What differs, as text; the server leaves out what is false, 0 or empty."""
    return {
        key: f"{found.get(key)!r} instead of {value!r}"
        for key, value in wanted.items()
        if (found.get(key) or None) != (value or None)
    }


def _owner_of(consumer: ConsumerSpec) -> str:
    return next(spec.owner for spec in STREAMS if spec.name == consumer.stream)


async def _find(nc: Client, call: str, *not_found: int) -> Config | None:
    try:
        return await api(nc, call)
    except ApiError as error:
        if error.code in not_found:
            return None
        raise


async def _create(nc: Client, call: str, request: Config) -> bool:
    try:
        await api(nc, call, request)
    except ApiError as error:
        if error.code in _EXISTS_OTHERWISE:
            return False
        raise
    return True


async def api(nc: Client, call: str, request: Config | None = None) -> Config:
    """Ask JetStream, and while it is still starting again; limit the time.

    Raises:
        ApiError: it says no. Unavailable: it does not answer.
    """
    payload = json.dumps(request).encode() if request is not None else b""
    failures = 0
    while True:
        try:
            answer = json.loads((await nc.request(f"$JS.API.{call}", payload, timeout=_TIMEOUT_S)).data)
        except NoRespondersError:
            answer = {"error": {"err_code": min(_NOT_YET)}}
        except (NatsError, OSError) as error:
            raise Unavailable("JetStream does not answer", code="bus_unavailable") from error
        if "error" not in answer:
            return dict(answer)
        if answer["error"].get("err_code") not in _NOT_YET:
            if answer["error"].get("code") != _SERVER_FAILED:
                raise ApiError(call, answer["error"])
            failures += 1
            if failures == _FAILURES:
                raise Unavailable(str(ApiError(call, answer["error"])), code="bus_unavailable")
        await asyncio.sleep(_POLL_S)
