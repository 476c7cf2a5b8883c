"""From a request to all that it causes: command, event, worker, audit, live stream; one trace through all of it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from jobplane.chassis import bus
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
_TRACE = "0af7651916cd43dd8448eb211c80319c"


def _live(client: httpx2.Client, last_event_id: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of the live stream: (id, data), until the caller has seen enough."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with client.stream("GET", "/live", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        told: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(":")
            if name in {"id", "data", "event"}:
                told[name] = value.strip()
            elif not line and "data" in told:
                yield told.get("id", ""), json.loads(told["data"])
                told = {}


def _until(events: Iterator[tuple[str, dict[str, Any]]], job: str, last_type: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of one job up to the one of a type."""
    seen = []
    for event_id, data in events:
        if data.get("subject") == job:
            seen.append((event_id, data))
            if data["type"] == last_type:
                return seen
    raise AssertionError("the live stream ended")


def _upload(client: httpx2.Client, content: bytes, name: str = "photo.png") -> dict[str, Any]:
    answer = client.post("/assets", files={"file": (name, content, "image/png")})
    assert answer.status_code == 201, answer.text
    asset: dict[str, Any] = answer.json()
    return asset


def test_a_request_is_seen_by_worker_audit_and_live_stream_under_one_trace(platform: Platform) -> None:
    with platform.client() as client:
        asset = _upload(client, _PNG)
        created = client.post(
            "/jobs",
            json={"kind": "image.thumbnail", "payload": {}, "asset": asset["id"], "tags": ["e2e"]},
            headers={"traceparent": f"00-{_TRACE}-00f067aa0ba902b7-01"},
        )
        assert created.status_code == 201, created.text
        job = created.json()["id"]
        eventually_sync(lambda: client.get(f"/jobs/{job}").json()["status"] == "COMPLETED", timeout=20)

        history = client.get(f"/jobs/{job}/history").json()["items"]
        assert [item["type"] for item in history] == ["job.created.v1", "job.started.v1", "job.completed.v1"]
        assert {item["trace_id"] for item in history} == {_TRACE}

        eventually_sync(lambda: len(client.get("/audit", params={"target": job}).json()["items"]) == 3)
        audit = client.get("/audit", params={"target": job}).json()["items"]
        assert [item["action"] for item in audit] == ["JOB_COMPLETED", "JOB_STARTED", "JOB_CREATED"]
        assert {item["trace_id"] for item in audit} == {_TRACE}
        assert audit[-1]["actor"]["name"] == "admin"
        assert audit[-1]["actor"]["address"] == "127.0.0.1"
        assert [(item["before"], item["after"]) for item in reversed(audit)] == [
            (None, "PENDING"),
            ("PENDING", "RUNNING"),
            ("RUNNING", "COMPLETED"),
        ]
        assert client.get(f"/assets/{asset['id']}/thumbnail").headers["content-type"] == "image/webp"


def test_the_live_stream_resumes_without_gap_or_repeat(platform: Platform) -> None:
    with platform.client() as client:
        asset = _upload(client, _PNG)
        body = {"kind": "image.metadata", "payload": {}, "asset": asset["id"]}
        first = client.post("/jobs", json=body).json()["id"]
        with platform.client() as other:
            seen = _until(_live(other, "1.j0.a0.h0"), first, "job.completed.v1")
        second = client.post("/jobs", json=body).json()["id"]
        with platform.client() as other:
            resumed = _until(_live(other, seen[-1][0]), second, "job.completed.v1")
    assert [data["type"] for _, data in seen] == ["job.created.v1", "job.started.v1", "job.completed.v1"]
    assert [data["type"] for _, data in resumed] == ["job.created.v1", "job.started.v1", "job.completed.v1"]
    assert resumed[0][1]["position"] > seen[-1][1]["position"]


def test_the_live_stream_tells_how_far_a_bulk_operation_is(platform: Platform) -> None:
    with platform.client() as client:
        body = {"kind": "test.never", "payload": {}, "run_at": "2030-01-01T00:00:00Z"}
        jobs = [client.post("/jobs", json=body).json() for _ in range(3)]
        wish: dict[str, Any] = {"action": "cancel", "ids": [job["id"] for job in jobs], "dry_run": True}
        plan = client.post("/jobs/bulk", json=wish, headers={"Prefer": "wait=20"}).json()
        assert (plan["status"], plan["total"]) == ("planned", 3)
        assert client.post(f"/operations/{plan['id']}/run", json={}).status_code == 200
        with platform.client() as other:
            events = _until(_live(other, f"1.j{jobs[-1]['position']}"), plan["id"], "operation.finished.v1")
        told = [(data["type"], data["data"]) for _, data in events]
        changed = [item["job"] for name, data in told if name == "operation.jobs_changed.v1" for item in data["items"]]
        assert sorted(changed) == sorted(wish["ids"])
        assert [name for name, _ in told if name != "operation.jobs_changed.v1"] == [
            "operation.requested.v1",
            "operation.planned.v1",
            "operation.started.v1",
            "operation.finished.v1",
        ]
        assert told[1][1]["total"] == told[-1][1]["done"] == 3
        shown = client.get(f"/operations/{plan['id']}").json()
        assert (shown["status"], shown["done"], shown["skipped"]) == ("done", 3, 0)


def test_a_repeated_request_acts_once_and_a_reused_key_is_refused(platform: Platform) -> None:
    with platform.client() as client:
        later = {"kind": "test.never", "payload": {"n": 1}, "run_at": "2030-01-01T00:00:00Z"}
        headers = {"Idempotency-Key": "one-and-only"}
        first = client.post("/jobs", json=later, headers=headers)
        again = client.post("/jobs", json=later, headers=headers)
        other = client.post("/jobs", json=later | {"payload": {"n": 2}}, headers=headers)
        assert first.json()["id"] == again.json()["id"]
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

        job = first.json()
        stale = client.post(f"/jobs/{job['id']}/cancel", json={}, headers={"If-Match": '"7"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "version_conflict")
        cancelled = client.request("DELETE", f"/jobs/{job['id']}", headers={"If-Match": f'"{job["version"]}"'})
        assert cancelled.json()["job"]["status"] == "CANCELLED"
        refused = client.post(f"/jobs/{job['id']}/retry", json={"reason": "again"})
        assert (refused.status_code, refused.json()["code"]) == (409, "job_not_failed")
        query = {"target": job["id"], "outcome": "refused"}
        expected = {"job_not_failed", "version_conflict"}
        eventually_sync(
            lambda: {item["code"] for item in client.get("/audit", params=query).json()["items"]} == expected
        )


def test_a_broken_picture_fails_readably_and_can_be_retried(platform: Platform) -> None:
    with platform.client() as client:
        asset = _upload(client, b"not a picture at all", "letter.png")
        body = {"kind": "image.thumbnail", "payload": {}, "asset": asset["id"]}
        job = client.post("/jobs", json=body).json()["id"]
        eventually_sync(lambda: client.get(f"/jobs/{job}").json()["status"] == "FAILED", timeout=20)
        failed = client.get(f"/jobs/{job}").json()
        assert "not a picture" in failed["error"]["message"]
        retried = client.post(f"/jobs/{job}/retry", json={"reason": "perhaps it is one now"})
        assert retried.status_code == 200, retried.text
        eventually_sync(lambda: client.get(f"/jobs/{job}").json()["run"] == 2, timeout=20)
        eventually_sync(lambda: client.get(f"/jobs/{job}").json()["status"] == "FAILED", timeout=20)
        types = [item["type"] for item in client.get(f"/jobs/{job}/history").json()["items"]]
        assert types.count("job.failed.v1") == 2


def test_every_invariant_holds_afterwards(platform: Platform) -> None:
    eventually_sync(lambda: invariants.settled(platform), timeout=20)
    invariants.check(platform)


def test_what_nobody_can_read_is_found_discarded_and_audited(platform: Platform) -> None:
    async def send_noise() -> None:
        nc = await bus.connect(platform.producer_url, user="producer", name="noise")
        await nc.publish("jobs.cmd.producer.create", b"noise")
        await bus.close(nc)

    asyncio.run(send_noise())
    with platform.client() as client:
        query = {"service": "jobs", "what": "command"}
        [letter] = eventually_sync(lambda: client.get("/dlq", params=query).json()["items"])
        assert letter["subject"] == "jobs.cmd.producer.create"
        place = f"/dlq/{letter['seq']}"
        assert client.get(place).json()["text"] == "noise"
        assert client.post(f"{place}/replay").json()["code"] == "still_unreadable"
        assert client.post(f"{place}/discard", json={"reason": "noise"}).status_code == 200
        assert client.get(place).json()["code"] == "dead_letter_not_found"
        [entry] = eventually_sync(
            lambda: client.get("/audit", params={"action": "DEAD_LETTER_DISCARDED"}).json()["items"]
        )
        assert (entry["reason"], entry["target"]) == ("noise", {"type": "dead_letter", "id": str(letter["seq"])})
        about = client.get("/audit", params={"target": str(letter["seq"])}).json()["items"]
        assert [item["action"] for item in about] == [
            "DEAD_LETTER_DISCARDED",
            "COMMAND_REFUSED",
            "DEAD_LETTER_INSPECTED",
        ]
        assert about[1]["command"] == "POST /api/admin/dlq/{dead_letter}/replay"
