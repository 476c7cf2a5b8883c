"""The gateway: the only service that speaks HTTP to the world."""

import asyncio
from contextlib import AsyncExitStack

from jobplane.chassis import bus, database, migrations, process, streams
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Relay, creator
from jobplane.chassis.settings import load
from jobplane.contracts.topology import EVT_ADMIN
from jobplane.gateway import background, server
from jobplane.gateway.admin_log import SOURCE
from jobplane.gateway.app import create_app
from jobplane.gateway.background import subject_of
from jobplane.gateway.settings import GatewaySettings
from jobplane.gateway.wiring import Gateway


async def serve(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    async with AsyncExitStack() as stack:
        listener = server.listen(settings.http_host, settings.http_port)
        stack.callback(listener.close)
        drifts = await _ensure_streams(settings.topology_nats_url.get_secret_value())
        url = settings.database_url.get_secret_value()
        pool = await database.open_pool(url, schema="gateway", service="gateway", min_size=2)
        stack.push_async_callback(pool.close)
        await migrations.require_current(pool, "gateway")
        nc = await bus.connect(settings.nats_url.get_secret_value(), user="gateway", name=settings.instance)
        stack.push_async_callback(bus.close, nc)
        relay_url = settings.relay_nats_url.get_secret_value()
        relay_nc = await bus.connect(relay_url, user="gateway-relay", name=f"{settings.instance}-relay")
        stack.push_async_callback(bus.close, relay_nc)
        create = creator(settings.topology_nats_url.get_secret_value(), EVT_ADMIN)
        journal = Journal(pool)
        relay = Relay(journal, relay_nc, stream=EVT_ADMIN, source=SOURCE, subject_of=subject_of, create=create)
        journal.on_append = relay.nudge
        gateway = Gateway.build(settings, pool, journal, nc)
        await stack.enter_async_context(background.relaying(relay, relay_nc))
        await stack.enter_async_context(background.answering(settings, journal, relay))
        await gateway.start()
        await stack.enter_async_context(background.working(gateway, nc, relay, drifts))
        await server.serve(
            create_app(gateway),
            listener,
            stop,
            end_streams=gateway.live.stop,
            hurry=gateway.bus.hurry,
            behind_proxy=settings.public_url is not None,
        )


async def _ensure_streams(topology_url: str) -> list[str]:
    nc = await bus.connect(topology_url, user="topology", name="gateway topology")
    try:
        return await streams.ensure(nc, "gateway")
    finally:
        await bus.close(nc)


def main() -> None:
    """Run the service in this process."""
    settings = load(GatewaySettings)
    process.run(lambda stop: serve(settings, stop), "gateway", settings.instance, settings.log_level)


if __name__ == "__main__":
    main()
