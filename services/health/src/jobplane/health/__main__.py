"""The health service as a process: settings, connections, projection, checkups, queries, until it is told to stop."""

import asyncio
from contextlib import AsyncExitStack

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus, clock, database, migrations, process, queries, settings
from jobplane.chassis.following import Following
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.loops import Loop
from jobplane.chassis.probe import Probe
from jobplane.contracts.queries import Nothing
from jobplane.contracts.topology import EVT_JOBS
from jobplane.health import history
from jobplane.health.checkup import Checkup
from jobplane.health.handlers import Handlers
from jobplane.health.settings import HealthSettings
from jobplane.health.subscribers import Listener, projection

SERVICE = "health"
_PRUNE_EVERY_S = 3600


async def run(told: HealthSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    async with AsyncExitStack() as ending:
        pool = await database.open_pool(told.database_url.get_secret_value(), schema=SERVICE, service=SERVICE)
        ending.push_async_callback(pool.close)
        await migrations.require_current(pool, SERVICE)
        nc = await bus.connect(told.reader_nats_url.get_secret_value(), user="health-reader", name=told.instance)
        ending.push_async_callback(bus.close, nc)

        listener = Listener()
        await listener.listen(nc)
        following = Following(pool, nc, {EVT_JOBS: projection(pool, nc)})
        following.start()
        ending.push_async_callback(following.stop)
        checkup = Checkup(pool, nc, listener)
        for loop in (
            Loop("checkup", checkup.run_once, told.checkup_every_s),
            Loop("prune", lambda: prune(pool), _PRUNE_EVERY_S),
        ):
            loop.start()
            ending.push_async_callback(loop.stop)

        answering = queries.broker(told.nats_url.get_secret_value(), SERVICE, told.instance)
        queries.serve(answering, SERVICE, "detailed", Nothing, Handlers(checkup).detailed)
        await answering.start()
        ending.push_async_callback(answering.stop)

        heartbeat = Heartbeat(
            nc,
            SERVICE,
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
        await stop.wait()


async def prune(pool: AsyncConnectionPool) -> int:
    """Remove minutes that are too old."""
    async with pool.connection() as conn:
        return await history.prune(conn, clock.now())


def main() -> None:
    """Start the service."""
    told = settings.load(HealthSettings)
    process.run(lambda stop: run(told, stop), SERVICE, told.instance, told.log_level)


if __name__ == "__main__":
    main()
