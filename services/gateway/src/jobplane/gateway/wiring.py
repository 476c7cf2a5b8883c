"""The parts of a running gateway, put together once; routes find them by `gateway_of(request)`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from psycopg_pool import AsyncConnectionPool
from starlette.requests import HTTPConnection

from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.object_store import ObjectStore
from jobplane.gateway.accounts import Accounts
from jobplane.gateway.admin_log import AdminLog
from jobplane.gateway.control_bus import ControlBus
from jobplane.gateway.live import LiveHub
from jobplane.gateway.origins import Origins
from jobplane.gateway.passwords import Passwords
from jobplane.gateway.pending import PendingCommands
from jobplane.gateway.rate_limit import Limit, RateLimits, RequestLimit
from jobplane.gateway.sessions import Credential, Sessions
from jobplane.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that a request may need."""

    settings: GatewaySettings
    pool: AsyncConnectionPool[Any]
    log: AdminLog
    accounts: Accounts
    passwords: Passwords
    sessions: Sessions
    origins: Origins
    limits: RateLimits
    requests: RequestLimit
    bus: ControlBus
    pending: PendingCommands
    live: LiveHub
    store: ObjectStore

    @classmethod
    def build(cls, settings: GatewaySettings, pool: AsyncConnectionPool[Any], journal: Journal, nc: Connection) -> Self:
        """Put the parts together; nothing runs yet."""
        log, passwords, limits = AdminLog(journal), Passwords(), RateLimits(pool)
        lifetimes = {
            Credential.SESSION: timedelta(hours=settings.session_hours),
            Credential.TOKEN: timedelta(minutes=settings.token_minutes),
        }
        bus = ControlBus(nc)
        per_actor = Limit("requests", max(1, round(settings.requests_per_s * 2)), 1 / settings.requests_per_s)
        return cls(
            settings=settings,
            pool=pool,
            log=log,
            accounts=Accounts(pool, log, passwords),
            passwords=passwords,
            sessions=Sessions(pool, lifetimes),
            origins=Origins(pool),
            limits=limits,
            requests=RequestLimit(limits, per_actor),
            bus=bus,
            pending=PendingCommands(pool),
            live=LiveHub(nc, bus, journal),
            store=ObjectStore(settings.object_store_url),
        )

    async def start(self) -> None:
        """Make the first accounts, listen for answers, follow the streams."""
        password = self.settings.admin_password
        local = self.settings.local_password
        await self.accounts.ensure_first(
            password.get_secret_value() if password else None, local.get_secret_value() if local else None
        )
        await self.bus.start()
        await self.live.start()

    async def stop(self) -> None:
        """End live streams and waiting commands, and record the refusals that were only counted."""
        await self.live.stop()
        await self.bus.stop()
        await self.pending.flush()
        await self.log.sum_up(everything=True)


def gateway_of(request: HTTPConnection) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
