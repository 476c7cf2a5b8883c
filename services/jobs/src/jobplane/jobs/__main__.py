"""The jobs service: the only writer of job state."""

import asyncio

from jobplane.chassis import bus, database, migrations, process, streams
from jobplane.chassis.settings import load
from jobplane.jobs.settings import Settings
from jobplane.jobs.wiring import Wiring


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    topology = await bus.connect(settings.topology_nats_url.get_secret_value(), user="topology", name="jobs topology")
    try:
        drifts = await streams.ensure(topology, "jobs")
    finally:
        await bus.close(topology)
    pool = await database.open_pool(
        settings.database_url.get_secret_value(), schema="jobs", service="jobs", min_size=2, max_size=settings.pool_size
    )
    try:
        await migrations.require_current(pool, "jobs")
        wiring = await Wiring.connect(settings, pool, drifts)
        await wiring.run(stop)
    finally:
        await pool.close()


def main() -> None:
    """Run the service in this process."""
    settings = load(Settings)
    process.run(lambda stop: serve(settings, stop), "jobs", settings.instance, settings.log_level)


if __name__ == "__main__":
    main()
