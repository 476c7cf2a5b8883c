"""What the bus does in a month, done in a moment: streams let go of their oldest events."""

import json
from typing import Any

from nats.aio.client import Client

from jobplane.chassis import streams
from jobplane.contracts.queries import JournalPage
from jobplane.contracts.topology import stream


async def keep(nc: Client, name: str, count: int) -> int:
    """Leave the last messages of a stream, so many: its limits are tightened for a moment; gives its first sequence."""
    config = (await _api(nc, f"INFO.{name}"))["config"]
    await _api(nc, f"UPDATE.{name}", config | {"max_msgs": count})
    return int((await _api(nc, f"UPDATE.{name}", config))["state"]["first_seq"])


async def remake(nc: Client, name: str, first_sequence: int) -> None:
    """Leave nothing: the stream goes on at that sequence, as one whose events all were too old."""
    await _api(nc, f"DELETE.{name}")
    await streams.create(nc, stream(name), first_sequence)


async def assert_as_stored(page: JournalPage, nc: Client, name: str) -> None:
    """Each event of a page has subject, headers and bytes of the message at its sequence."""
    for event in page.events:
        stored = await nc.jetstream().get_msg(name, event.position)
        headers = {header: value for header, value in (stored.headers or {}).items() if not header.startswith("Nats-")}
        assert (event.subject, event.headers, event.data.encode()) == (stored.subject, headers, stored.data)


async def _api(nc: Client, call: str, told: dict[str, Any] | None = None) -> dict[str, Any]:
    data = b"" if told is None else json.dumps(told).encode()
    answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.STREAM.{call}", data, timeout=5)).data)
    assert "error" not in answer, answer
    return answer
