"""`jobplane verify`: silent about a healthy platform, and for every kind of damage a sentence that says where it is."""

import dataclasses
from pathlib import Path

import psycopg
import pytest

from jobplane.chassis import database as databases
from jobplane.chassis.journal import Journal
from jobplane.cli.site import Site
from jobplane.cli.verify import running
from jobplane.cli.verify.sources import opened
from jobplane.cli.verify.verdict import INVARIANTS, Status, Tally
from jobplane.contracts.errors import Unavailable
from jobplane.local import ports
from jobplane.local.addresses import as_user
from tests.integration.cli.filling import append_logins, site_of
from tests.support.events import ensure_streams
from tests.support.servers import Bus, Database

SERVED = "UPDATE jobs.beat_service SET since = now() - interval '1 h', served_until = now() + interval '1 h'"
ANOTHER_END = """
WITH head AS (UPDATE jobs.journal_head SET pos = pos + 1 RETURNING pos)
INSERT INTO jobs.event (pos, stream_id, version, type, id, actor, correlation_id, traceparent, at, data)
SELECT head.pos, stream_id, 99, type, gen_random_uuid(), actor, correlation_id, traceparent, at, data
FROM jobs.event, head WHERE type = '{}' LIMIT 1
"""
ORPHANED_ROW = """
CREATE TEMPORARY TABLE copy AS SELECT * FROM jobs.job LIMIT 1;
UPDATE copy SET id = gen_random_uuid(), unique_key = NULL;
INSERT INTO jobs.job SELECT * FROM copy
"""


def damage(database: Database, *statements: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


async def look(site: Site, *invariants: str, start: int | None = None) -> dict[str, Tally]:
    _, tallies = await running.verify(site, invariants or list(INVARIANTS), start, lambda _: None)
    return {tally.invariant: tally for tally in tallies}


def told(tally: Tally) -> str:
    return "\n".join(f"{violation.where}: {violation.what}" for violation in tally.violations)


async def test_a_healthy_platform_has_nothing_to_tell(site: Site) -> None:
    tallies = await look(site)
    assert {name: told(tally) for name, tally in tallies.items()} == dict.fromkeys(INVARIANTS, "")
    assert [tally.unjudged for tally in tallies.values()] == [None] * len(INVARIANTS)
    assert all(tally.checked == tally.expected > 0 for tally in tallies.values())


@pytest.mark.parametrize(
    ("invariant", "statements", "sentences"),
    [
        (
            "I1",
            ["DELETE FROM jobs.event WHERE pos IN (1, 2, 4)", "DELETE FROM gateway.event WHERE pos = 4"],
            [
                "jobs position 1 to 2: 2 positions are missing",
                "jobs position 4: a position is missing",
                "gateway position 4: a position is missing",
            ],
        ),
        ("I1", ["UPDATE jobs.journal_head SET pos = 5"], ["jobs position 6: ", "events are behind the head"]),
        (
            "I2",
            [
                "UPDATE jobs.event SET data = (data::text || ' ')::json WHERE pos = 2",
                "DELETE FROM jobs.event WHERE pos = 3",
                "UPDATE jobs.event SET type = 'job.other.v1' WHERE pos = 4",
                "UPDATE gateway.event SET id = gen_random_uuid() WHERE pos = 2",
                "UPDATE jobs.journal_head SET halted = 'because'",
            ],
            [
                "jobs position 2: journal and stream differ in body",
                "jobs position 3: the stream has an event that the journal has not",
                "jobs position 4: journal and stream differ in ce-type",
                "gateway position 2: journal and stream differ in ce-id",
                "journal of jobs: writes are halted: because",
            ],
        ),
        ("I2", ["UPDATE jobs.journal_head SET pos = 5"], ["jobs position 6: EVT_JOBS ends at"]),
        ("I3", ["UPDATE jobs.command_outcome SET position = 9999 WHERE position = 1"], ["that does not exist"]),
        (
            "I3",
            [
                "UPDATE jobs.command_outcome SET position = 2 WHERE position = 1",
                "DELETE FROM jobs.command_outcome WHERE status = 'refused'",
            ],
            ["to the event of another command", "a command that has no outcome"],
        ),
        (
            "I3",
            [
                "UPDATE jobs.command_outcome SET job_id = NULL WHERE position = 1",
                "UPDATE jobs.command_outcome SET position = 1 WHERE status = 'refused'",
            ],
            ["name different jobs", "refused, but names an event"],
        ),
        (
            "I3",
            ["UPDATE jobs.command_outcome SET status = NULL WHERE position = 1"],
            ["claimed, but has no outcome", "of a command that is not done"],
        ),
        (
            "I3",
            ["UPDATE jobs.command_outcome SET position = NULL WHERE position = 1"],
            ["done, but names no event", "whose outcome names no event"],
        ),
        ("I3", ["DELETE FROM jobs.command_outcome WHERE position = 1"], ["a command that has no outcome"]),
        (
            "I4",
            [ANOTHER_END.format("job.completed.v1"), ANOTHER_END.format("job.stop_confirmed.v1")],
            ["run 1: the run ended at the positions", "the run has stop outcomes at the positions"],
        ),
        (
            "I4",
            [ANOTHER_END.format("job.started.v1"), "DELETE FROM jobs.event WHERE type = 'job.cancelled.v1'"],
            ["the run was started 2 times", "a stop outcome, but was not cancelled"],
        ),
        (
            "I5",
            [
                "UPDATE jobs.job SET status = 'FAILED' WHERE status = 'COMPLETED'",
                "UPDATE jobs.job SET attempt = 7, run = 0 WHERE status = 'RUNNING'",
                "UPDATE jobs.job SET stop = NULL, version = version + 1 WHERE stop IS NOT NULL",
                "UPDATE jobs.job SET forced = true, position = 1 WHERE status = 'PENDING'",
                ORPHANED_ROW,
                "UPDATE jobs.error_group SET failed_now = failed_now + 1",
            ],
            [
                "status is FAILED, its events say COMPLETED",
                "run is 0, its events say 1; attempt is 7, its events say 1",
                "stop is none, its events say confirmed",
                "version is ",
                "position is 1, its events say ",
                "forced is true, its events say false",
                "the job has no events",
                "queue queue: the counter of COMPLETED says 1",
                "the group says that 1 jobs are FAILED, there are 0",
            ],
        ),
        (
            "I5",
            [
                "DELETE FROM jobs.job WHERE status = 'PENDING'",
                "DELETE FROM jobs.event WHERE type = 'job.released.v1'",
            ],
            ["the job has 1 events, but no row", "but ends with version"],
        ),
        (
            "I6",
            [
                "DELETE FROM audit.audit_log WHERE source_position = 2",
                "UPDATE audit.audit_log SET at = at - interval '1 s' WHERE source_position = 3",
                "DELETE FROM gateway.event WHERE pos = 4",
                "UPDATE audit.checkpoint SET halted = 'a hole'",
            ],
            [
                "jobs position 2: the event is not in the audit log",
                "jobs position 3: the entry in the audit log differs from its event",
                "gateway position 4: the audit log has an entry without an event",
                "2 entries are missing",
                "the audit log stands still: a hole",
            ],
        ),
        (
            "I7",
            [
                SERVED,
                "UPDATE jobs.job SET lease_until = now() - interval '9 min', timeout_ms = 1, "
                "started_at = now() - interval '2 min' WHERE status = 'RUNNING'",
                "UPDATE jobs.job SET ready = false, run_at = now() - interval '1 min' WHERE status = 'PENDING'",
                "UPDATE jobs.job SET stop = 'pending', finished_at = now() - interval '5 min', lease_until = NULL "
                "WHERE stop IS NOT NULL",
                "UPDATE jobs.job SET ready = true WHERE status = 'COMPLETED'",
            ],
            [
                "the job still runs, its lease ended at",
                "the job still runs, its time limit was over at",
                "the job is due, but not ready, since",
                "nobody settled its stop",
                "the job is to be leased, but is not PENDING",
            ],
        ),
        ("I7", ["UPDATE jobs.job SET lease_until = NULL WHERE status = 'RUNNING'"], ["the job runs without a lease"]),
        (
            "I8",
            [
                "DELETE FROM jobs.body WHERE ref = (SELECT id FROM jobs.event WHERE pos = 1)",
                "UPDATE jobs.body SET data = data || '\\x20'",
                "INSERT INTO jobs.body SELECT gen_random_uuid(), job_id, salt, data FROM jobs.body LIMIT 1",
            ],
            [
                "the body that the event refers to is missing",
                "the body is not the one that the event was written with",
                "no event refers to this body",
            ],
        ),
        ("I8", ["UPDATE jobs.body SET job_id = gen_random_uuid()"], ["belongs to another job"]),
        (
            "I9",
            [
                "UPDATE jobs.queue_control SET paused = '{}' WHERE key = 'queue:other'",
                "UPDATE jobs.queue_control SET limits = NULL WHERE key = 'kind:test.other'",
                "INSERT INTO jobs.queue_control (key, sort, name, version) VALUES ('queue:x', 'queue', 'x', 1)",
            ],
            [
                "queue other: it is paused, its events say active",
                "kind test.other: it is active, its events say active, at most 2 at once, 3 starts in 1 s with bursts",
                "queue x: it has a row, but was never controlled",
            ],
        ),
        (
            "I9",
            ["UPDATE jobs.queue_control SET version = 9 WHERE key = 'queue:other'"],
            ["version is 9, its events say"],
        ),
        ("I9", ["DELETE FROM jobs.queue_control"], ["queue other: it was controlled, but has no row"]),
        (
            "I9",
            [
                "UPDATE jobs.operation SET status = 'stopped', done = 2, codes = '{}'",
                "UPDATE jobs.plan_chunk SET versions = array_append(versions, 3), job_ids = job_ids || job_ids[1]",
            ],
            [
                "it is stopped at version 5, its events say done at 5",
                "it is about 2 jobs, its plan has 3",
                "its plan has 3 places for 2 jobs",
                "it counts 2 jobs done, its plan 2 and 1 skipped, or the codes differ",
                "its plan has 2 jobs done, its events tell of 1, or not of the same",
            ],
        ),
        ("I9", ["UPDATE jobs.plan_chunk SET codes = NULL"], ["it is done, but 1 jobs have no outcome"]),
    ],
)
async def test_damage_is_found_and_named(
    site: Site, database: Database, invariant: str, statements: list[str], sentences: list[str]
) -> None:
    damage(database, *statements)
    tally = (await look(site, invariant))[invariant]
    assert tally.status is Status.VIOLATED
    assert [sentence for sentence in sentences if sentence not in told(tally)] == [], told(tally)
    assert all(violation.advice for violation in tally.violations)


async def test_a_job_that_runs_while_beats_are_not_served_is_not_stuck(site: Site, database: Database) -> None:
    damage(
        database,
        "UPDATE jobs.beat_service SET served_until = now() - interval '1 h'",
        "UPDATE jobs.job SET lease_until = now() - interval '1 day' WHERE status = 'RUNNING'",
    )
    tally = (await look(site, "I7"))["I7"]
    assert told(tally) == ""
    assert "no beats are served" in tally.notes[0]


async def test_a_new_epoch_is_no_gap(site: Site, database: Database) -> None:
    damage(database, "UPDATE gateway.journal_head SET epoch = 2, first_pos = 9, pos = 8")
    tallies = await look(site, "I1", "I2", "I6")
    assert [told(tally) for tally in tallies.values()] == ["", "", ""]
    assert tallies["I1"].notes == ["gateway: positions 5 to 8 were never given, epoch 2 begins behind them"]


async def test_what_is_not_relayed_yet_is_lag(site: Site, database: Database) -> None:
    pool = await databases.open_pool(database.url("gateway"), schema="gateway", service="test")
    await append_logins(Journal(pool), 2)
    await pool.close()
    tallies = await look(site)
    assert [told(tally) for tally in tallies.values()] == [""] * len(INVARIANTS)
    assert tallies["I2"].notes == ["gateway: 2 events are not relayed yet"]
    assert tallies["I6"].notes == ["gateway: 2 events are not in the audit log yet"]


async def test_a_wiped_bus_is_lag_too(database: Database, bus: Bus, tmp_path: Path) -> None:
    site = site_of(database, bus, tmp_path)
    tally = (await look(site, "I2"))["I2"]
    assert (tally.status, len(tally.notes)) == (Status.OK, 2)
    await ensure_streams(bus)
    tally = (await look(site, "I2"))["I2"]
    assert (tally.status, tally.checked) == (Status.OK, 0)
    assert all("are not relayed yet" in note for note in tally.notes)


async def test_only_what_comes_after_the_position_is_judged(site: Site, database: Database) -> None:
    damage(
        database,
        "DELETE FROM jobs.event WHERE pos = 2",
        "UPDATE jobs.event SET data = (data::text || ' ')::json WHERE pos = 3",
        "DELETE FROM audit.audit_log WHERE source_position = 1 AND source = 'EVT_JOBS'",
        "UPDATE jobs.job SET attempt = 9 WHERE status = 'RUNNING'",
    )
    with psycopg.connect(database.admin_url) as conn:
        row = conn.execute("SELECT pos FROM jobs.event WHERE type = 'job.started.v1' ORDER BY pos DESC").fetchone()
    assert row is not None
    tallies = await look(site, start=row[0])
    assert {name for name, tally in tallies.items() if tally.status is not Status.OK} == {"I5"}
    assert tallies["I5"].count == 1


async def test_a_role_that_may_only_read_is_enough(site: Site, database: Database, filled_bus: Bus) -> None:
    page = Path(__file__).parents[3] / "docs" / "operations.md"
    documented = page.read_text().partition("```sql\n")[2].partition("```")[0]
    damage(database, documented.replace("'…'", "'secret'").replace("DATABASE jobplane", f"DATABASE {database.name}"))
    try:
        reader = as_user(site.database, "jobplane_reader", "secret")
        own = dataclasses.replace(site, credentials=None, database=reader, nats=filled_bus.url("audit-reader"))
        tallies = await look(own)
        assert [(tally.status, tally.unjudged) for tally in tallies.values()] == [(Status.OK, None)] * len(INVARIANTS)
    finally:
        damage(database, "DROP OWNED BY jobplane_reader", "DROP ROLE jobplane_reader")


async def test_without_the_bus_everything_else_is_judged(site: Site) -> None:
    away = dataclasses.replace(site, nats=f"nats://{ports.LOOPBACK}:{ports.free_port()}")
    tallies = await look(away, "I1", "I2", "I5")
    assert [tally.status for tally in tallies.values()] == [Status.OK, Status.UNJUDGED, Status.OK]
    assert "NATS does not answer" in str(tallies["I2"].unjudged)


async def test_without_the_database_it_ends_with_one_sentence(site: Site) -> None:
    away = dataclasses.replace(site, database=f"postgresql://{ports.LOOPBACK}:{ports.free_port()}/jobplane")
    with pytest.raises(Unavailable, match="the database cannot be used"):
        await look(away, "I1")


async def test_a_table_that_cannot_be_read_leaves_its_invariant_unjudged(site: Site, database: Database) -> None:
    damage(database, "REVOKE SELECT ON jobs.body FROM jobplane_jobs")
    tallies = await look(site, "I8", "I1")
    assert tallies["I8"].unjudged == "the database: permission denied for table body"
    assert tallies["I1"].status is Status.OK


async def test_it_cannot_write(site: Site) -> None:
    async with opened(site) as sources:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with sources.snapshot("jobs") as conn:
                await conn.execute("DELETE FROM job")
