"""How soon the jobs of a killed worker wait to be run again."""

from jobplane.worker.producer import NewJob, Producer
from tests.bench.raw import Readings
from tests.bench.site import Scale, Site, worker
from tests.support import invariants
from tests.support.waiting import eventually

_LEASE_MS = 3000
_QUEUE = "bench-orphans"
_RUNNING = "SELECT count(*) FROM jobs.job WHERE queue = %s AND status = 'RUNNING'"
_LEASES = "SELECT max(lease_until), clock_timestamp() FROM jobs.job WHERE queue = %s AND status = 'RUNNING'"
_WAITING = (
    "SELECT max(event.at) FROM jobs.event JOIN jobs.job ON job.id = event.stream_id "
    "WHERE job.queue = %s AND event.type = 'job.orphaned.v1' AND event.at > %s"
)


async def orphans(site: Site, _scale: Scale) -> Readings:
    """Kill -9 with eight jobs running; by the database's clock, until the last of them is PENDING."""
    platform = site.platform
    with worker(platform, _QUEUE, lease_ms=_LEASE_MS) as process, invariants.connect(platform) as conn:
        async with Producer.connect(platform.producer_url, name="bench") as producer:
            await producer.enqueue_many([NewJob(kind="bench.slow", queue=_QUEUE, max_attempts=1) for _ in range(8)])
        await eventually(lambda: conn.execute(_RUNNING, (_QUEUE,)).fetchone() == (8,), timeout=20)
        process.kill()
        leases = conn.execute(_LEASES, (_QUEUE,)).fetchone()
        assert leases is not None
        await eventually(lambda: conn.execute(_RUNNING, (_QUEUE,)).fetchone() == (0,), timeout=30)
        waiting = conn.execute(_WAITING, (_QUEUE, leases[1])).fetchone()
        assert waiting is not None
    with platform.client() as client:
        for job in client.get("/jobs", params={"queue": _QUEUE, "status": "PENDING"}).json()["items"]:
            client.post(f"/jobs/{job['id']}/cancel", json={"reason": "measured"})
    return {
        "orphan.beyond_lease": (waiting[0] - leases[0]).total_seconds(),
        "orphan.after_kill": (waiting[0] - leases[1]).total_seconds(),
    }
