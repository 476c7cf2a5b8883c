"""A new epoch of a journal's stream, when an operator decided for it."""

import json
from typing import Any

from jobplane.chassis import bus, database
from jobplane.chassis.journal import Journal
from jobplane.cli.failures import Failed
from jobplane.contracts.queries import JournalFigures
from jobplane.local.addresses import Addresses
from jobplane.local.credentials import role_of

_STREAM_NOT_FOUND = 10059
_TIMEOUT_S = 5


async def begin(addresses: Addresses, owner: str, stream: str) -> JournalFigures:
    """First the journal goes on beyond the stream, then the stream ends; the service's relay makes it anew."""
    topology = await bus.connect(addresses.nats_as("topology"), user="topology", name="new epoch")
    pool = await database.open_pool(
        addresses.database_as(role_of(owner)), schema=owner, service="new epoch", max_size=2
    )
    try:
        info = await _api(topology, f"STREAM.INFO.{stream}")
        figures = await Journal(pool).open_epoch(info["state"]["last_seq"] if info else 0)
        await _api(topology, f"STREAM.DELETE.{stream}")
    finally:
        await pool.close()
        await bus.close(topology)
    return figures


async def _api(nc: bus.Connection, call: str) -> dict[str, Any] | None:
    """What JetStream answers; none if there is no such stream."""
    answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{call}", b"", timeout=_TIMEOUT_S)).data)
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("err_code") == _STREAM_NOT_FOUND:
        return None
    raise Failed(f"JetStream refused: {error.get('description', error)}")
