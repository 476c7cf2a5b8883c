"""What `jobplane doctor` makes of what it measured: every check in which something is wrong, and the healthy case."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobplane.cli.doctor import clocks, configuration, disk, lag, permissions, report, topology, versions
from jobplane.cli.doctor.finding import Area, Finding, Verdict
from jobplane.contracts.topology import CMD, DLQ, EVT_JOBS, GIB, JOBS_INTAKE, MIB
from jobplane.contracts.topology import stream as declared
from jobplane.local.data_dir import DataDirectory

OK, WARNING, FAILURE = Verdict.OK, Verdict.WARNING, Verdict.FAILURE


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """A data directory as `up` leaves it."""
    directory = DataDirectory(tmp_path / "data")
    directory.root.mkdir(mode=0o700)
    directory.credentials.touch(mode=0o600)
    directory.connection.touch(mode=0o600)
    return directory


def bad(findings: list[Finding]) -> list[tuple[str, Verdict]]:
    for finding in findings:
        assert (finding.advice == "") is (finding.verdict is OK), finding
    return [(finding.name, finding.verdict) for finding in findings if finding.verdict is not OK]


def test_an_ordinary_configuration_is_fine(data: DataDirectory) -> None:
    assert bad(configuration.check(data, {})) == []
    ours = {"JOBPLANE_LEASE_MS": "5000", "JOBPLANE_DATA": "x", "JOBPLANE_PUBLIC_URL": "https://jobs.example.org"}
    assert bad(configuration.check(data, ours | {"PATH": "/bin", "PGHOST": "unused"})) == []
    assert bad(configuration.check(DataDirectory(data.root / "none"), {})) == []


def test_secrets_that_others_may_read_are_a_failure(data: DataDirectory) -> None:
    data.credentials.chmod(0o640)
    data.root.chmod(0o755)
    assert bad(configuration.check(data, {})) == [("mode of data", FAILURE), ("mode of credentials.json", FAILURE)]


def test_the_files_of_somebody_else_are_a_warning(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert ("owner of credentials.json", WARNING) in bad(configuration.check(data, {}))


def test_a_directory_that_may_not_be_looked_at_is_a_failure(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(configuration, "_open_to_others", refuse)
    assert bad(configuration.check(data, {})) == [("data directory", FAILURE)]


@pytest.mark.parametrize(
    ("environment", "verdict", "says"),
    [
        ({"JOBPLANE_LEASEMS": "5000"}, WARNING, "nobody reads JOBPLANE_LEASEMS"),
        ({"JOBPLANE_LEASE_MS": "soon"}, FAILURE, "JOBPLANE_LEASE_MS is invalid: Input should be a valid integer"),
        ({"JOBPLANE_LEASE_MS": "5"}, FAILURE, "JOBPLANE_LEASE_MS is invalid: Input should be greater than"),
        ({"JOBPLANE_LOG_LEVEL": "loud"}, FAILURE, "JOBPLANE_LOG_LEVEL is invalid"),
        ({"JOBPLANE_HTTP_PORT": "99999"}, FAILURE, "JOBPLANE_HTTP_PORT is invalid"),
        ({"JOBPLANE_URL": "https://other"}, WARNING, "JOBPLANE_URL is set"),
        ({"FORWARDED_ALLOW_IPS": "*"}, WARNING, "FORWARDED_ALLOW_IPS believes every address"),
        ({"DATABASE_URL": "postgresql://db", "PGSSLMODE": "off"}, WARNING, "PGSSLMODE also tell"),
    ],
)
def test_variables_that_mean_trouble_are_named(
    data: DataDirectory, environment: dict[str, str], verdict: Verdict, says: str
) -> None:
    found = [one for one in configuration.check(data, environment) if one.verdict is not OK]
    assert [one.verdict for one in found] == [verdict]
    assert says in found[0].says


def test_the_value_of_a_setting_is_never_shown(data: DataDirectory) -> None:
    found = configuration.check(data, {"JOBPLANE_LEASE_MS": "s3cret", "JOBPLANE_NAT_URL": "nats://u:s3cret@h"})
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(("variable", "place"), [("DATABASE_URL", "postgres"), ("NATS_URL", "nats/store")])
def test_a_second_server_beside_the_embedded_one_is_a_warning(data: DataDirectory, variable: str, place: str) -> None:
    (data.root / place).mkdir(parents=True)
    assert bad(configuration.check(data, {variable: "there"})) == [("servers", WARNING)]


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (versions.python((3, 11, 7)), OK),
        (versions.python((3, 10, 1)), FAILURE),
        (versions.postgres("18.6", 18), OK),
        (versions.postgres("15.2", 15), FAILURE),
        (versions.nats((2, 12, 0)), OK),
        (versions.nats((2, 9, 10)), FAILURE),
        (versions.durability("on", "on", "on"), OK),
        (versions.durability("off", "on", "on"), FAILURE),
        (versions.durability("on", "off", "on"), FAILURE),
        (versions.durability("on", "on", "off"), FAILURE),
        (versions.schema("jobs", "0002_b", ["0001_a", "0002_b"]), OK),
        (versions.schema("jobs", "0001_a", ["0001_a", "0002_b"]), FAILURE),
        (versions.schema("jobs", "0003_c", ["0001_a", "0002_b"]), FAILURE),
        (versions.schema("jobs", None, ["0001_a"]), FAILURE),
        (versions.layout(1, 1), OK),
        (versions.layout(1, 2), WARNING),
        (permissions.role("jobs", (False, 0, [], [])), OK),
        (permissions.role("jobs", (True, 0, [], [])), FAILURE),
        (permissions.role("jobs", (False, 3, [], [])), FAILURE),
        (permissions.role("jobs", (False, 0, ["gateway"], [])), FAILURE),
        (permissions.role("jobs", (False, 0, [], ["jobs.event"])), FAILURE),
        (permissions.role("jobs", ()), WARNING),
        (topology.stream(declared(CMD), {}), OK),
        (topology.stream(declared(CMD), None), FAILURE),
        (topology.stream(declared(CMD), {"max_bytes": "1 instead of 2"}), WARNING),
        (topology.stream(declared(CMD), {"subjects": "[] instead of ['a']"}), FAILURE),
        (topology.durable(JOBS_INTAKE, {}), OK),
        (topology.durable(JOBS_INTAKE, None), FAILURE),
        (topology.durable(JOBS_INTAKE, {"backoff": "[] instead of [5]"}), WARNING),
        (topology.fill(declared(CMD), 10 * MIB), OK),
        (topology.fill(declared(CMD), 220 * MIB), WARNING),
        (topology.fill(declared(CMD), 250 * MIB), FAILURE),
        (topology.fill(declared(DLQ), 250 * MIB), FAILURE),
        (topology.fill(declared(EVT_JOBS), 4 * GIB), OK),
        (disk.free("data", 100 * GIB, 200 * GIB), OK),
        (disk.free("data", 4 * GIB, 200 * GIB), WARNING),
        (disk.free("data", GIB, 10 * GIB), WARNING),
        (disk.free("data", 100 * MIB, 10 * GIB), FAILURE),
        (disk.writing(1.0), OK),
        (disk.writing(100.0), WARNING),
        (disk.writing(900.0), FAILURE),
        (disk.jetstream(GIB, -1), OK),
        (disk.jetstream(GIB, 64 * GIB), OK),
        (disk.jetstream(60 * GIB, 64 * GIB), WARNING),
        (disk.jetstream(63 * GIB, 64 * GIB), FAILURE),
        (lag.projection("audit.EVT_JOBS", 90, None, 100), OK),
        (lag.projection("audit.EVT_JOBS", 90, None, None), OK),
        (lag.projection("audit.EVT_JOBS", 100, None, 90), OK),
        (lag.projection("audit.EVT_JOBS", 90, None, 5000), WARNING),
        (lag.projection("audit.EVT_JOBS", 90, None, 50_000), FAILURE),
        (lag.projection("audit.EVT_JOBS", 90, "a hole", 90), FAILURE),
        (lag.commands(3), OK),
        (lag.commands(2000), WARNING),
        (lag.commands(20_000), FAILURE),
        (lag.dead_letters(0), OK),
        (lag.dead_letters(1), WARNING),
        (clocks.difference(-0.02), OK),
        (clocks.difference(3.0), WARNING),
        (clocks.difference(-60.0), FAILURE),
    ],
    ids=lambda value: f"{value.name}: {value.says}" if isinstance(value, Finding) else str(value),
)
def test_what_was_measured_is_judged(finding: Finding, verdict: Verdict) -> None:
    assert finding.verdict is verdict
    assert (finding.advice == "") is (verdict is OK)


@pytest.mark.parametrize(
    ("position", "halted", "end", "wrong"),
    [
        (10, None, 10, []),
        (10, None, None, []),
        (2000, None, 10, [("relay of jobs", WARNING)]),
        (20_000, None, 10, [("relay of jobs", FAILURE)]),
        (10, None, 11, [("relay of jobs", FAILURE)]),
        (10, "because", 10, [("journal of jobs", FAILURE)]),
    ],
)
def test_a_relay_may_be_behind_but_never_ahead(
    position: int, halted: str | None, end: int | None, wrong: list[Any]
) -> None:
    assert bad(lag.relay("jobs", position, halted, end)) == wrong


def findings() -> list[Finding]:
    area, other = Area("reachability"), Area("disk")
    return [
        area.ok("postgres", "4 roles get in"),
        area.failure("gateway", "nobody answers at http://127.0.0.1:8080 (connection refused)", "Start it. " * 12),
        other.warning("free space", "1.0 of 10.0 GiB are free (10 %)", "Free some space."),
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_the_report_fits_the_terminal(width: int) -> None:
    file = io.StringIO()
    report.show(Console(file=file, width=width, force_terminal=True, color_system=None), findings())
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "✗ gateway" in text
    assert "→ Free some space." in text
    assert "1 failure, 1 warning, 3 checks" in text


def test_the_last_line_says_how_it_went() -> None:
    assert report.summary(findings()[:1]).plain == "all 1 checks are ok"
    assert report.summary(findings()).plain == "1 failure, 1 warning, 3 checks"


def test_scripts_get_the_worst_verdict() -> None:
    assert report.as_dict(findings())["status"] == "failure"
    assert report.as_dict(findings()[:1])["status"] == "ok"
    assert report.as_dict(findings())["findings"][2]["advice"] == "Free some space."
