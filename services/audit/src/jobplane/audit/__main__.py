"""The audit service as a process: settings, connections, projections, queries, until it is told to stop."""

import asyncio
from contextlib import AsyncExitStack

from jobplane.audit.handlers import Handlers
from jobplane.audit.settings import AuditSettings
from jobplane.audit.subscribers import projections
from jobplane.chassis import bus, database, migrations, process, queries, settings
from jobplane.chassis.following import Following
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.probe import Probe
from jobplane.contracts.audit import AuditQuery

SERVICE = "audit"


async def run(told: AuditSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    async with AsyncExitStack() as ending:
        pool = await database.open_pool(told.database_url.get_secret_value(), schema=SERVICE, service=SERVICE)
        ending.push_async_callback(pool.close)
        await migrations.require_current(pool, SERVICE)
        nc = await bus.connect(told.reader_nats_url.get_secret_value(), user="audit-reader", name=told.instance)
        ending.push_async_callback(bus.close, nc)

        following = Following(pool, nc, projections(pool, nc))
        following.start()
        ending.push_async_callback(following.stop)

        answering = queries.broker(told.nats_url.get_secret_value(), SERVICE, told.instance)
        queries.serve(answering, SERVICE, "list", AuditQuery, Handlers(pool).list)
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


def main() -> None:
    """Start the service."""
    told = settings.load(AuditSettings)
    process.run(lambda stop: run(told, stop), SERVICE, told.instance, told.log_level)


if __name__ == "__main__":
    main()
