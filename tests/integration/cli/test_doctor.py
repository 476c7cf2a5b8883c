"""`jobplane doctor` on real servers: what was taken away, changed or granted is found, whatever else is down."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobplane.chassis import bus as buses
from jobplane.chassis import streams
from jobplane.cli import site as sites
from jobplane.cli.doctor import lag, permissions, reach, topology, versions
from jobplane.cli.doctor.examination import examine
from jobplane.cli.doctor.finding import Finding, Verdict
from jobplane.cli.doctor.servers import connected
from jobplane.cli.site import Site
from jobplane.contracts.topology import CMD, EVT_JOBS, USERS, UserSpec
from jobplane.local import connections, credentials, nats, ports
from jobplane.local.connections import CommandLine
from jobplane.local.data_dir import DataDirectory
from tests.integration.cli.filling import site_of
from tests.support.events import ensure_streams
from tests.support.servers import SECRETS, TEST_USER, Bus, Database

_EVERYTHING = (">",)


def damage(database: Database, *statements: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def bad(findings: list[Finding]) -> dict[str, str]:
    assert findings
    return {finding.name: finding.says for finding in findings if finding.verdict is not Verdict.OK}


async def api(bus: Bus, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    nc = await buses.connect(bus.url(TEST_USER.name), user=TEST_USER.name, name="test")
    answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{call}", json.dumps(request or {}).encode())).data)
    await buses.close(nc)
    assert "error" not in answer, answer
    return answer


async def test_healthy_servers_have_nothing_wrong(site: Site) -> None:
    async with connected(site) as servers:
        for check in (versions.check, permissions.check, topology.check, lag.check):
            found = bad(await check(servers))
            # the database of the tests forgets everything in a power cut, on purpose
            found.pop("durability", None)
            assert found == {}


async def test_rights_beyond_the_own_part_are_found(site: Site, database: Database) -> None:
    damage(
        database,
        "GRANT UPDATE ON jobs.event TO jobplane_jobs",
        "ALTER TABLE jobs.job OWNER TO jobplane_jobs",
        "GRANT DELETE ON gateway.event TO jobplane_gateway",
        "GRANT TRUNCATE ON audit.audit_log TO PUBLIC",
        "GRANT USAGE ON SCHEMA gateway TO jobplane_health",
    )
    async with connected(site) as servers:
        found = bad(await permissions.check(servers))
    assert set(found) == {f"role jobplane_{service}" for service in ("jobs", "audit", "health", "gateway")}
    assert "owns " in found["role jobplane_jobs"]
    assert "rows of jobs.event" in found["role jobplane_jobs"]
    assert "rows of gateway.event" in found["role jobplane_gateway"]
    assert "rows of audit.audit_log" in found["role jobplane_audit"]
    assert found["role jobplane_health"] == "may use the schemas gateway"


@pytest.fixture
def lax_bus(tmp_path: Path) -> Iterator[Bus]:
    """A bus on which everybody may do everything."""
    server = Bus(tmp_path / "lax")
    users = [UserSpec(user.name, _EVERYTHING, _EVERYTHING) for user in (*USERS, TEST_USER)]
    passwords = SECRETS.nats_users | {TEST_USER.name: "test"}
    log = server.directory / "nats.log"
    server.server = nats.start(server.directory / "nats", port=server.port, passwords=passwords, log=log, users=users)
    server.server.wait_ready()
    yield server
    server.stop()


async def test_a_bus_that_lets_everybody_publish_events_is_found_without_publishing_one(
    database: Database, lax_bus: Bus, tmp_path: Path
) -> None:
    await ensure_streams(lax_bus)
    async with connected(site_of(database, lax_bus, tmp_path)) as servers:
        found = bad(await permissions.check(servers))
    assert set(found) == {"bus user worker", "bus user gateway"}
    assert (await api(lax_bus, f"STREAM.INFO.{EVT_JOBS}"))["state"]["last_seq"] == 0


async def test_one_user_for_everything_is_a_warning(database: Database, lax_bus: Bus, tmp_path: Path) -> None:
    site = dataclasses.replace(site_of(database, lax_bus, tmp_path), nats=lax_bus.url(TEST_USER.name))
    async with connected(site) as servers:
        found = bad(await permissions.check(servers))
    assert found == {"bus users": "one user does everything (NATS_URL names it)"}


async def test_streams_that_drifted_or_are_missing_are_found(database: Database, bus: Bus, tmp_path: Path) -> None:
    site = site_of(database, bus, tmp_path)
    async with connected(site) as servers:
        assert set(bad(await topology.check(servers))) == {
            "stream CMD",
            "stream EVT_JOBS",
            "stream EVT_ADMIN",
            "stream DLQ",
            "consumer CMD/jobs",
        }
        await ensure_streams(bus)
        assert bad(await topology.check(servers)) == {}
        config = (await api(bus, f"STREAM.INFO.{CMD}"))["config"]
        await api(bus, f"STREAM.UPDATE.{CMD}", config | {"max_bytes": 4096})
        await api(bus, f"CONSUMER.DELETE.{CMD}.jobs")
        found = await topology.check(servers)
        assert {one.name: one.verdict for one in found if one.verdict is not Verdict.OK} == {
            "stream CMD": Verdict.WARNING,
            "consumer CMD/jobs": Verdict.FAILURE,
        }
        await api(bus, f"STREAM.UPDATE.{CMD}", config | {"subjects": ["other.cmd.*"]})
        found = await topology.check(servers)
        assert {one.verdict for one in found if one.name == "stream CMD"} == {Verdict.FAILURE}
    assert streams.FATAL[0] in next(one.says for one in found if one.name == "stream CMD")


async def test_a_schema_of_another_version_is_found(site: Site, database: Database) -> None:
    damage(
        database, "UPDATE health.alembic_version SET version_num = '9999_future'", "DROP TABLE audit.alembic_version"
    )
    async with connected(site) as servers:
        found = bad(await versions.check(servers))
    assert found["schema health"] == "at 9999_future, which this program does not know"
    assert found["schema audit"] == "has no tables yet"


async def test_what_is_halted_behind_or_dead_is_found(site: Site, database: Database) -> None:
    damage(
        database,
        "UPDATE gateway.journal_head SET halted = 'because', pos = pos + 20000",
        "UPDATE jobs.journal_head SET pos = 1",
        "UPDATE audit.checkpoint SET halted = 'a hole' WHERE name = 'audit.EVT_JOBS'",
        "INSERT INTO audit.dead_event (stream, position, reason) VALUES ('EVT_JOBS', 1, 'unreadable')",
    )
    async with connected(site) as servers:
        found = bad(await lag.check(servers))
    assert set(found) == {
        "journal of gateway",
        "relay of gateway",
        "relay of jobs",
        "audit.EVT_JOBS",
        "dead events of audit",
    }


async def test_who_is_not_let_in_is_named(database: Database, bus: Bus, tmp_path: Path) -> None:
    site = site_of(database, bus, tmp_path)
    wrong = SECRETS.model_copy(
        update={
            "roles": SECRETS.roles | {"jobplane_health": "wrong"},
            "nats_users": SECRETS.nats_users | {"worker": "wrong"},
        }
    )
    async with connected(dataclasses.replace(site, credentials=wrong)) as servers:
        found = bad(await reach.check(servers))
    assert 'password authentication failed for user "jobplane_health"' in found["postgres as jobplane_health"]
    assert "refuses the user worker" in found["nats as worker"]
    assert "gateway" in found


async def test_everything_else_is_examined_while_both_servers_are_down(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "stopped")
    places = {name: ports.free_port() for name in ("postgres", "nats", "jobs", "audit", "health")}
    credentials.save(data.credentials, SECRETS.model_copy(update={"ports": places}))
    connections.write(
        data.connection, CommandLine(url=f"http://127.0.0.1:{ports.free_port()}", username="l", password="p")
    )
    found = {(one.area, one.name): one.verdict for one in await examine(data)}
    down = {("reachability", name) for name in ("postgres", "nats", "jobs", "audit", "health", "gateway")}
    assert {place for place, verdict in found.items() if verdict is Verdict.FAILURE} == down
    assert found["topology", "topology"] is Verdict.WARNING
    assert found["configuration", "data directory"] is Verdict.OK
    assert ("disk", "writing") in found


async def test_without_a_platform_that_is_the_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    found = await examine(DataDirectory(tmp_path / "none"))
    assert bad(found)["platform"].startswith("No platform was started here")


async def test_damaged_credentials_are_the_finding(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.credentials.write_text("{}")
    assert "is damaged" in bad(await examine(data))["platform"]


async def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(
    site: Site, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(database, "DROP TABLE audit.dead_event")
    monkeypatch.setattr(sites, "find", lambda _: site)
    found = {(one.area, one.name): one for one in await examine(site.data)}
    assert 'relation "dead_event" does not exist' in found["lag", "lag"].says
    assert ("clock", "database") in found
