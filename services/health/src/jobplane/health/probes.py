"""The probes: each looks at one thing, has a time limit, and answers with measurements, never with an exception."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock, queries
from jobplane.chassis.bus import Connection
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.contracts.jobs import Stats
from jobplane.contracts.queries import JournalFigures, Nothing
from jobplane.contracts.topology import CMD, DLQ, EVT_ADMIN, EVT_JOBS, JOBS_INTAKE
from jobplane.contracts.topology import stream as declared
from jobplane.health import history
from jobplane.health.report import Measured, Measurement, Unmeasured

TIME_LIMIT_S: Final = 1.0
WATCHED: Final = (EVT_JOBS, EVT_ADMIN, CMD, DLQ)
_KEPT_HEADS: Final = 24
_IDLE_S: Final = 86_400
_MOST_QUEUES: Final = 200
"""So many are checked one by one, those whose jobs wait longest first: more would not fit into a message."""

_POSTGRES: Final = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       pg_database_size(current_database()),
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend')::float8,
       pg_has_role('pg_read_all_stats', 'USAGE')
"""

_BLIND: Final = "unknown: the health role needs pg_read_all_stats"

Probe = Callable[[], Awaitable[Sequence[Measurement]]]


class Heads:
    """The last sequences of each stream as they were seen in the last minutes, newest last."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[datetime, int]]] = {}

    def saw(self, stream: str, last_sequence: int, at: datetime) -> None:
        """Remember what a stream's last sequence was."""
        self._seen.setdefault(stream, deque(maxlen=_KEPT_HEADS)).append((at, last_sequence))

    def at(self, stream: str, at: datetime) -> int | None:
        """The last sequence at an instant, as far as known: a checkpoint told then is compared with nothing newer."""
        seen = self._seen.get(stream)
        if not seen:
            return None
        return next((sequence for when, sequence in reversed(seen) if when <= at), seen[0][1])


class Probes:
    """Looks at Postgres, NATS, the relay and the queues."""

    def __init__(self, pool: AsyncConnectionPool, nc: Connection, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._pool = pool
        self._nc = nc
        self._time_limit_s = time_limit_s
        self.heads = Heads()

    async def measure(self) -> list[Measurement]:
        """Everything, at the same time; what does not answer in time is `Unmeasured`."""
        probes: list[tuple[str, str | None, Probe]] = [
            ("postgres.latency", None, self.postgres),
            ("nats.round_trip", None, self.nats),
            ("nats.storage", None, self.storage),
            ("commands.backlog", None, self.commands),
            ("relay.lag", "jobs", self.journal),
            ("queues.read", None, self.queues),
            *(("stream.fill", name, _of_stream(self, name)) for name in WATCHED),
        ]
        found = await asyncio.gather(*(self._bounded(rule, subject, probe) for rule, subject, probe in probes))
        return [measurement for measurements in found for measurement in measurements]

    async def _bounded(self, rule: str, subject: str | None, probe: Probe) -> Sequence[Measurement]:
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await probe()
        except TimeoutError:
            return [Unmeasured(rule, f"No answer within {self._time_limit_s:g} s", subject)]
        except JobplaneError as error:
            return [Unmeasured(rule, f"No answer: {error}", subject)]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this probe found out
            return [Unmeasured(rule, f"No answer: {type(error).__name__}", subject)]

    async def postgres(self) -> Sequence[Measurement]:
        """Latency, connections, size and the oldest transaction."""
        async with self._pool.connection(timeout=self._time_limit_s) as conn:
            latency_ms = await _quickest_ms(lambda: conn.execute("SELECT 1"))
            row = await (await conn.execute(_POSTGRES)).fetchone()
        if row is None:
            return [Unmeasured("postgres.connections", "No row")]
        used, usable, size, oldest_s, sees_all = row
        return [
            Measured("postgres.latency", latency_ms),
            Measured("postgres.connections", round(100 * used / usable, 1)),
            Measured("postgres.size", size),
            Measured("postgres.oldest_transaction", round(oldest_s or 0, 1) if sees_all else _BLIND),
        ]

    async def nats(self) -> Sequence[Measurement]:
        """A ping and its answer."""
        if not self._nc.is_connected:  # a ping would seem to succeed
            raise Unavailable("the connection is down")
        limit_s = max(1, round(self._time_limit_s))
        return [Measured("nats.round_trip", await _quickest_ms(lambda: self._nc.flush(timeout=limit_s)))]

    async def storage(self) -> Sequence[Measurement]:
        """How full JetStream's storage is; nothing where the account has no limit."""
        account = await self._ask("$JS.API.INFO")
        limit = account.get("limits", {}).get("max_storage", -1)
        used = account.get("storage", 0)
        return [Measured("nats.storage", round(100 * used / limit, 1))] if limit > 0 else []

    async def stream(self, name: str) -> Sequence[Measurement]:
        """How full a stream is; its last sequence is remembered for the lag of projections."""
        state = (await self._ask(f"$JS.API.STREAM.INFO.{name}"))["state"]
        self.heads.saw(name, state["last_seq"], clock.now())
        limit = declared(name).max_bytes
        found = [Measured("stream.fill", round(100 * state["bytes"] / limit, 1), name)] if limit > 0 else []
        return [*found, Measured("dead_letters", state["messages"])] if name == DLQ else found

    async def commands(self) -> Sequence[Measurement]:
        """Commands that wait for a decision."""
        info = await self._ask(f"$JS.API.CONSUMER.INFO.{CMD}.{JOBS_INTAKE.name}")
        return [Measured("commands.backlog", info["num_pending"] + info["num_ack_pending"])]

    async def journal(self) -> Sequence[Measurement]:
        """How far the relay of the jobs service is behind its journal."""
        figures = await queries.ask(
            self._nc, "jobs", "journal", Nothing(), JournalFigures, timeout_s=self._time_limit_s
        )
        note = f"Writes are halted: {figures.halted}" if figures.halted else None
        return [Measured("relay.lag", max(0, figures.position - figures.relayed), "jobs", note)]

    async def queues(self) -> Sequence[Measurement]:
        """For each queue: how long the oldest job waits, and whether running jobs get anywhere."""
        stats = await queries.ask(self._nc, "jobs", "stats", Nothing(), Stats, timeout_s=self._time_limit_s)
        now = clock.now()
        async with self._pool.connection(timeout=self._time_limit_s) as conn:
            active_at = await history.last_activity(conn, now)
        found: list[Measurement] = [Measured("queues.read", len(stats.queues))]
        for queue in sorted(stats.queues, key=lambda one: (one.oldest_at or now, -one.running))[:_MOST_QUEUES]:
            waited_s = (now - queue.oldest_at).total_seconds() if queue.oldest_at else 0
            quiet_s = (now - active_at[queue.queue]).total_seconds() if queue.queue in active_at else _IDLE_S
            found.append(Measured("queue.oldest", max(0, round(waited_s)), queue.queue))
            found.append(Measured("queue.stalled", max(0, round(quiet_s)) if queue.running else 0, queue.queue))
        return found

    async def _ask(self, subject: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await self._nc.request(subject, timeout=self._time_limit_s)).data)
        if "error" in answer:
            raise JobplaneError(answer["error"].get("description", "refused"))
        return answer


async def _quickest_ms(ask: Callable[[], Awaitable[object]]) -> float:
    """How long an answer takes, the quickest of three: one slow answer may be our own event loop's fault."""
    took: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - begun) * 1000)
    return round(min(took), 2)


def _of_stream(probes: Probes, name: str) -> Probe:
    return lambda: probes.stream(name)
