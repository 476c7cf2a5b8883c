"""A gateway in this process behind a real web server, with a real database and bus, and scripted other services."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from argon2 import PasswordHasher
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis import database as chassis_database
from jobplane.chassis import streams
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Relay, creator
from jobplane.contracts.actors import Role, system
from jobplane.contracts.admin_events import UserCreated
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS, stream
from jobplane.gateway import background, passwords, server
from jobplane.gateway.admin_log import SOURCE, Entry
from jobplane.gateway.app import create_app
from jobplane.gateway.auth import cookie_name
from jobplane.gateway.background import subject_of
from jobplane.gateway.sessions import Credential
from jobplane.gateway.settings import GatewaySettings
from jobplane.gateway.wiring import Gateway
from tests.integration.gateway.scripted_jobs import ScriptedJobs
from tests.support.servers import Bus, Database, PrivateDatabase

ADMIN_PASSWORD = "correct horse battery staple"


@dataclass
class Running:
    """A gateway that answers at `url`."""

    gateway: Gateway
    url: str
    jobs: ScriptedJobs
    bus: Bus
    nc: Connection
    relay: Relay
    end: Callable[[], Awaitable[None]]
    """Ends the web server, as a gateway that is told to stop does."""
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def pool(self) -> AsyncConnectionPool[Any]:
        """Its database."""
        return self.gateway.pool

    def client(self, **options: Any) -> httpx2.AsyncClient:
        """Somebody whom it does not know."""
        client = httpx2.AsyncClient(base_url=self.url, timeout=30, **options)
        self.clients.append(client)
        return client

    async def bearer(self, role: Role = Role.ADMIN) -> httpx2.AsyncClient:
        """Somebody with a token of an account of this role."""
        secret = await self.secret(role, Credential.TOKEN)
        return self.client(headers={"Authorization": f"Bearer {secret}"})

    async def browser(self, role: Role = Role.ADMIN, **headers: str) -> httpx2.AsyncClient:
        """Somebody with a session of an account of this role."""
        secret = await self.secret(role, Credential.SESSION)
        return self.client(cookies={cookie_name(secure=False): secret}, headers=headers)

    async def secret(self, role: Role, credential: Credential) -> str:
        """A session or token of a fresh account, without the slow hash of a login."""
        account_id = new_id()
        log = self.gateway.log
        async with log.journal.transaction() as tx:
            await tx.conn.execute(
                "INSERT INTO account (id, name, role, password_hash, version) VALUES (%s, %s, %s, '-', 1)",
                (account_id, f"{role.lower()}-{account_id[-6:]}", role),
            )
            secret, _ = await self.gateway.sessions.open(tx, credential, account_id)
            await log.append(tx, Entry(UserCreated(role=role), system("test"), account_id))
        return secret

    async def recorded(self, event_type: str) -> list[dict[str, Any]]:
        """The events of a type in the gateway's journal, oldest first."""
        events = await self.gateway.log.journal.after(0, 10_000)
        return [
            event.body() | {"actor": event.actor, "stream_id": event.stream_id, "version": event.version}
            for event in events
            if event.type == event_type
        ]


@asynccontextmanager
async def running(
    bus: Bus,
    database: Database | PrivateDatabase,
    directory: Path,
    journals: Sequence[str] = (EVT_JOBS, EVT_ADMIN),
    **told: Any,
) -> AsyncIterator[Running]:
    """A gateway while the block lasts; the streams of these journals are there before it."""
    values: dict[str, Any] = {
        "instance": "gateway-1",
        "nats_url": SecretStr(bus.url("gateway")),
        "relay_nats_url": SecretStr(bus.url("gateway-relay")),
        "answers_nats_url": SecretStr(bus.url("gateway-answers")),
        "topology_nats_url": SecretStr(bus.url("topology")),
        "database_url": SecretStr(database.url("gateway")),
        "object_store_url": f"file://{directory}/objects",
        "admin_password": SecretStr(ADMIN_PASSWORD),
    }
    settings = GatewaySettings(**(values | told))
    async with AsyncExitStack() as stack:
        await _make_streams(bus, journals)
        jobs = await ScriptedJobs.start(bus)
        stack.push_async_callback(jobs.stop)
        pool = await chassis_database.open_pool(database.url("gateway"), schema="gateway", service="gateway")
        stack.push_async_callback(pool.close)
        nc = await chassis_bus.connect(bus.url("gateway"), user="gateway", name="gateway")
        stack.push_async_callback(chassis_bus.close, nc)
        relay_nc = await chassis_bus.connect(bus.url("gateway-relay"), user="gateway-relay", name="relay")
        stack.push_async_callback(chassis_bus.close, relay_nc)
        create = creator(bus.url("topology"), EVT_ADMIN)
        relay = Relay(Journal(pool), relay_nc, stream=EVT_ADMIN, source=SOURCE, subject_of=subject_of, create=create)
        gateway = Gateway.build(settings, pool, Journal(pool, relay.nudge), nc)
        await stack.enter_async_context(background.relaying(relay, relay_nc))
        await stack.enter_async_context(background.answering(settings, Journal(pool), relay))
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        url, end = await _served(stack, gateway)
        run = Running(gateway, url, jobs, bus, nc, relay, end)
        stack.push_async_callback(_close, run)
        yield run


async def _served(stack: AsyncExitStack, gateway: Gateway) -> tuple[str, Callable[[], Awaitable[None]]]:
    listener = server.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    app = create_app(gateway)
    serving = asyncio.create_task(
        server.serve(app, listener, stop, end_streams=gateway.live.stop, hurry=gateway.bus.hurry, behind_proxy=False),
        name="http",
    )

    async def end() -> None:
        stop.set()
        await serving
        listener.close()

    stack.push_async_callback(end)
    return f"http://127.0.0.1:{port}", end


async def _make_streams(bus: Bus, journals: Sequence[str]) -> None:
    nc = await chassis_bus.connect(bus.url("topology"), user="topology", name="topology")
    await streams.ensure(nc, "jobs")
    for name in journals:
        await streams.create(nc, stream(name))
    await chassis_bus.close(nc)


async def _close(run: Running) -> None:
    for client in run.clients:
        await client.aclose()


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords cost 64 MiB and a tenth of a second each; here they only have to be right."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
async def gateway(bus: Bus, database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway with a fresh database and bus."""
    async with running(bus, database, tmp_path) as run:
        yield run


def code_of(response: httpx2.Response) -> str:
    """The code of a problem, which must be well-formed."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = cast("dict[str, Any]", response.json())
    assert {"type", "title", "status", "code", "detail", "trace_id"} <= problem.keys()
    assert problem["status"] == response.status_code
    assert problem["trace_id"] == response.headers["x-trace-id"]
    return str(problem["code"])
