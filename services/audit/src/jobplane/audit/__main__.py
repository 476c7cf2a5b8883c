"""The audit service as a process: settings, connections, projections, queries, until it is told to stop."""

import asyncio

from jobplane.audit.handlers import Handlers
from jobplane.audit.settings import AuditSettings
from jobplane.audit.subscribers import SERVICE, projections, replay
from jobplane.chassis import deriving, process, queries, settings
from jobplane.chassis.following import Following
from jobplane.chassis.queries import Broker
from jobplane.contracts.audit import AuditQuery


async def run(told: AuditSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    async with deriving.opened(told, SERVICE) as (pool, nc), Following(pool, nc, projections(pool, nc)) as following:

        def answer(broker: Broker) -> None:
            queries.serve(broker, SERVICE, "list", AuditQuery, Handlers(pool).list)
            replay(pool, nc).answer(broker)

        async with deriving.serving(told, SERVICE, pool, nc, following, answer):
            await stop.wait()


def main() -> None:
    """Start the service."""
    told = settings.load(AuditSettings)
    process.run(lambda stop: run(told, stop), SERVICE, told.instance, told.log_level)


if __name__ == "__main__":
    main()
