"""Health: in detail for SREs, in one word for orchestrators."""

from typing import Final

from fastapi import APIRouter, Request
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout
from starlette.responses import PlainTextResponse, Response

from jobplane.chassis import database, metrics
from jobplane.contracts.fleet import DetailedHealth
from jobplane.gateway.answers import ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import shows
from jobplane.gateway.wiring import Gateway, gateway_of

router = APIRouter(prefix="/api/admin/health", tags=["health"])
probes = APIRouter(include_in_schema=False)

_PROBE_S: Final = 1.0


@router.get("/detailed", responses=shows(DetailedHealth), summary="See how everything is")
async def detailed(request: Request, caller: Viewer) -> Response:  # noqa: ARG001 - declares who may call
    """Every process, every check with its threshold and advice, and the throughput of the last hour."""
    return ready(await gateway_of(request).bus.ask_raw("health", "detailed"))


@probes.get("/healthz")
async def alive() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


@probes.get("/readyz")
async def ready_to_work(request: Request) -> Response:
    """Whether requests can be served now, or why not."""
    verdict = await readiness(gateway_of(request))
    return PlainTextResponse("ok\n") if verdict is True else PlainTextResponse(f"{verdict}\n", 503)


@probes.get("/metrics")
async def measured() -> Response:
    """What was measured here, for Prometheus."""
    return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def readiness(gateway: Gateway) -> bool | str:
    """True, or why the gateway cannot do its work."""
    if not gateway.bus.connected:
        return "the bus is away"
    try:
        async with gateway.pool.connection(timeout=_PROBE_S) as conn:
            row = await (await conn.execute("SELECT halted FROM journal_head")).fetchone()
    except (DatabaseError, PoolTimeout) as error:
        if not database.is_away(error):
            raise
        return "the database is away"
    return f"the journal is halted: {row[0]}" if row and row[0] else True
