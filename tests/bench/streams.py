"""The bus filled anew from the journal, and the audit log built anew from the bus."""

import json
import os
import signal
import time

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.worker.producer import NewJob, Producer
from tests.bench.raw import Readings
from tests.bench.site import Scale, Site, bus_url, position, projected
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually

_PATIENCE_S = 120
_FORGET = (
    "TRUNCATE audit.audit_log, audit.audit_hour, audit.audit_late",
    "UPDATE audit.audit_head SET position = 0",
    "UPDATE audit.checkpoint SET position = 0",
)


async def reaches(nc: Connection, sequence: int) -> int:
    """The last sequence of the stream of the jobs' events, as soon as it is at least that."""

    async def found() -> int | None:
        told = json.loads((await nc.request("$JS.API.STREAM.INFO.EVT_JOBS", b"", timeout=5)).data)
        last = 0 if "error" in told else int(told["state"]["last_seq"])
        return last if last >= sequence else None

    return await eventually(found, timeout=_PATIENCE_S)


async def size(platform: Platform) -> int:
    """Bytes of the stream of the jobs' events, once it has them all."""
    nc = await buses.connect(bus_url(platform, "audit-reader"), user="audit-reader", name="bench")
    try:
        with invariants.connect(platform) as conn:
            await reaches(nc, position(conn))
        told = json.loads((await nc.request("$JS.API.STREAM.INFO.EVT_JOBS", b"", timeout=5)).data)
        return int(told["state"]["bytes"])
    finally:
        await buses.close(nc)


async def _fill(platform: Platform, scale: Scale) -> int:
    """At least so many events in the journal, all of them relayed and projected; gives how many."""
    wanted = scale.of(60_000, 2000)
    with invariants.connect(platform) as conn:
        missing = wanted - position(conn)
        if missing > 0:
            async with Producer.connect(platform.producer_url, name="bench") as producer:
                jobs = [NewJob(kind="bench.parked", payload={"n": n}, queue="parked") for n in range(missing)]
                await producer.enqueue_many(jobs, timeout_s=_PATIENCE_S)
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
        return position(conn)


async def relay(site: Site, scale: Scale) -> Readings:
    """The stream is gone; the next event makes the relay publish the journal from its beginning."""
    platform = site.platform
    await _fill(platform, scale)
    topology = await buses.connect(bus_url(platform, "topology"), user="topology", name="bench")
    reader = await buses.connect(bus_url(platform, "audit-reader"), user="audit-reader", name="bench")
    try:
        answer = json.loads((await topology.request("$JS.API.STREAM.DELETE.EVT_JOBS", b"", timeout=10)).data)
        assert "error" not in answer, answer
        async with Producer.connect(platform.producer_url, name="bench") as producer:
            await producer.enqueue("bench.parked", queue="parked")
        with invariants.connect(platform) as conn:
            head = position(conn)
        first = await reaches(reader, 1)
        began = time.perf_counter()
        last = await reaches(reader, head)
        return {"relay.rate": (last - first) / (time.perf_counter() - began)}
    finally:
        await buses.close(topology)
        await buses.close(reader)


async def projection(site: Site, scale: Scale) -> Readings:
    """The audit log is emptied while its service sleeps; restarted, the service reads from position 1."""
    platform = site.platform
    await _fill(platform, scale)
    position_of_audit = "SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'"
    with invariants.connect(platform) as conn:
        head = position(conn)
        pid = platform.kill("audit", signal.SIGSTOP)
        for statement in _FORGET:
            conn.execute(statement)
        os.kill(pid, signal.SIGKILL)

        def read() -> int:
            row = conn.execute(position_of_audit).fetchone()
            return int(row[0]) if row else 0

        first = await eventually(read, timeout=_PATIENCE_S)
        began = time.perf_counter()
        await eventually(lambda: read() >= head, timeout=_PATIENCE_S)
        return {"projection.rate": (head - first) / (time.perf_counter() - began)}
