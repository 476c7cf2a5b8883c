"""What every service that only derives opens at its start, and tells of itself while it runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from jobplane.chassis import bus, database, migrations, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.following import Following
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.probe import Probe
from jobplane.chassis.queries import Broker
from jobplane.chassis.settings import ServiceSettings


class DerivingSettings(ServiceSettings):
    """What every service that only derives is told."""

    reader_nats_url: SecretStr
    """``nats://user:password@host:port`` of the service's user that reads the event streams."""


@asynccontextmanager
async def opened(told: DerivingSettings, service: str) -> AsyncIterator[tuple[AsyncConnectionPool, Connection]]:
    """Its database, of the right schema version, and its reading connection to the bus; closed at the end."""
    async with AsyncExitStack() as ending:
        pool = await database.open_pool(told.database_url.get_secret_value(), schema=service, service=service)
        ending.push_async_callback(pool.close)
        await migrations.require_current(pool, service)
        nc = await bus.connect(told.reader_nats_url.get_secret_value(), user=f"{service}-reader", name=told.instance)
        ending.push_async_callback(bus.close, nc)
        yield pool, nc


@asynccontextmanager
async def serving(
    told: DerivingSettings,
    service: str,
    pool: AsyncConnectionPool,
    nc: Connection,
    following: Following,
    answer: Callable[[Broker], Any],
) -> AsyncIterator[None]:
    """Inside the block it answers the queries that `answer` declares, beats, and is probed; ended in order."""
    async with AsyncExitStack() as ending:
        broker = queries.broker(told.nats_url.get_secret_value(), service, told.instance)
        answer(broker)
        await broker.start()
        ending.push_async_callback(broker.stop)
        heartbeat = Heartbeat(
            nc,
            service,
            told.instance,
            ready=following.ready,
            pool=lambda: database.pool_figures(pool),
            detail=following.detail,
        )
        heartbeat.start()
        ending.push_async_callback(heartbeat.stop)
        probe = Probe(told.probe_port, following.ready)
        await probe.start()
        ending.push_async_callback(probe.stop)
        yield
