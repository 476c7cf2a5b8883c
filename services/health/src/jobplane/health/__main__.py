"""The health service as a process: settings, connections, projection, checkups, queries, until it is told to stop."""

import asyncio
from contextlib import AsyncExitStack

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock, deriving, process, queries, settings
from jobplane.chassis.following import Following
from jobplane.chassis.loops import Loop
from jobplane.chassis.queries import Broker
from jobplane.contracts.queries import Nothing
from jobplane.contracts.topology import EVT_JOBS
from jobplane.health import history
from jobplane.health.checkup import Checkup
from jobplane.health.handlers import Handlers
from jobplane.health.settings import HealthSettings
from jobplane.health.subscribers import SERVICE, Listener, projection, replay

_PRUNE_EVERY_S = 3600


async def run(told: HealthSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    async with AsyncExitStack() as ending:
        pool, nc = await ending.enter_async_context(deriving.opened(told, SERVICE))
        listener = Listener()
        await listener.listen(nc)
        following = await ending.enter_async_context(Following(pool, nc, {EVT_JOBS: projection(pool, nc)}))
        checkup = Checkup(pool, nc, listener)
        for loop in (
            Loop("checkup", checkup.run_once, told.checkup_every_s),
            Loop("prune", lambda: prune(pool), _PRUNE_EVERY_S),
        ):
            loop.start()
            ending.push_async_callback(loop.stop)

        def answer(broker: Broker) -> None:
            handlers = Handlers(pool, listener, checkup)
            queries.serve(broker, SERVICE, "detailed", Nothing, handlers.detailed)
            queries.serve(broker, SERVICE, "queues", Nothing, handlers.queues)
            replay(pool, nc).answer(broker)

        async with deriving.serving(told, SERVICE, pool, nc, following, answer):
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
