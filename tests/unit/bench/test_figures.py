"""The arithmetic of the benchmark; how fast anything is, no test asserts."""

from pathlib import Path

import pytest

from tests.bench import suite, table
from tests.bench.catalogue import FIGURES, figure, measurement
from tests.bench.figures import Measurement, Run, compare, percentile

MACHINE = {"at": "2026-11-22T12:00:00+00:00", "cpus": 2, "model": "Z80", "python": "3.11", "revision": "abc"}


def run(*found: Measurement, **skipped: str) -> Run:
    return Run(MACHINE, found, skipped)


def test_a_figure_is_the_median_of_its_repetitions() -> None:
    one = measurement("lifecycle.default.rate", [2900.0, 3300.0, 3100.0])
    assert (one.median, one.low, one.high, one.on_target) == (3100, 2900, 3300, True)
    assert measurement("command.answered.p50", [3.2, 2.0]).on_target is True
    assert measurement("command.answered.p50", [3.2, 2.9]).on_target is False
    assert measurement("raw.python", [50.0]).on_target is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2


def test_above_one_is_better_whatever_the_unit() -> None:
    old = run(measurement("relay.rate", [100.0]), measurement("command.answered.p50", [4.0]))
    new = run(measurement("relay.rate", [150.0]), measurement("command.answered.p50", [2.0]))
    assert [one.ratio for one in compare(new, old)] == pytest.approx([1.5, 2.0])


def test_a_faster_machine_is_not_our_merit() -> None:
    old = run(measurement("raw.python", [50.0]), measurement("relay.rate", [100.0]), measurement("bytes.total", [10.0]))
    new = run(
        measurement("raw.python", [100.0]), measurement("relay.rate", [150.0]), measurement("bytes.total", [10.0])
    )
    loop, relay, size = compare(new, old)
    assert (loop.ratio, loop.corrected) == (2.0, None)
    assert relay.machine == 2.0
    assert relay.corrected == pytest.approx(0.75)
    assert (size.ratio, size.corrected) == (1.0, None), "nothing that the machine decides"


def test_only_what_both_runs_measured_is_compared() -> None:
    old = run(measurement("relay.rate", [100.0]), measurement("start.rest.p50", [0.0]))
    new = run(measurement("relay.rate", [100.0]), measurement("projection.rate", [1.0]))
    assert [one.new.name for one in compare(new, old)] == ["relay.rate"]
    assert compare(new, old)[0].corrected is None, "its raw limit was not measured"


def test_what_was_kept_is_read_back_and_completed(tmp_path: Path) -> None:
    kept = run(measurement("relay.rate", [100.0, 90.0]), oban="not installed", relay="not yet")
    kept.write(tmp_path / "run.json")
    read = Run.read(tmp_path / "run.json")
    assert read == kept
    both = run(measurement("relay.rate", [7.0]), measurement("raw.fsync", [1.0])).onto(read)
    assert [(one.name, one.median) for one in both.measurements] == [("relay.rate", 7.0), ("raw.fsync", 1.0)]
    assert both.skipped == {"oban": "not installed"}


def test_the_markdown_tells_median_range_and_target() -> None:
    one = measurement("lifecycle.default.rate", [2000.0, 2500.0, 1000.0])
    page = table.markdown(run(one, oban="not installed"))
    assert f"| {one.title} | 2,000 /s | 1,000 to 2,500 | ≥ 3,000 | missed |" in page
    assert "2 CPUs (Z80)" in page
    assert page.endswith("Not measured: oban (not installed).\n")


def test_a_busy_machine_is_told() -> None:
    assert "BUSY" in table.heading(Run(MACHINE | {"load": 5.3}, ()))
    assert "BUSY" not in table.heading(Run(MACHINE | {"load": 0.4}, ()))


@pytest.mark.parametrize(
    "name", ["peer.oban.bulk.retry", "bulk.cpu.cancel.postgres", "lifecycle.tuned.cpu.nats-server", "bytes.jobs.event"]
)
def test_families_of_figures_are_known(name: str) -> None:
    assert figure(name).title
    assert figure(name).name == name


def test_every_raw_limit_that_a_figure_names_is_measured() -> None:
    names = {one.name for one in FIGURES}
    assert {one.limit for one in FIGURES if one.limit} <= names


def test_a_bench_is_chosen_by_the_beginning_of_its_name() -> None:
    found = [bench.name for bench in suite.chosen(["lifecycle"], peers=True)]
    assert found == ["raw.disk", "lifecycle.default", "lifecycle.index", "lifecycle.tuned"]
    for word in ("lifecycles", "lifecycle.tuned", "lifecycle.tuned.rate"):
        assert suite.chosen([word], peers=True)[-1].name == "lifecycle.tuned"
    assert [bench.name for bench in suite.chosen(["raw.disk"], peers=True)] == ["raw.disk"]
    assert suite.chosen(["peer.celery"], peers=False)[-1].name == "peer.celery"
    assert not [bench for bench in suite.chosen([], peers=False) if bench.name.startswith("peer.")]
    assert [bench.name for bench in suite.chosen(["start"], peers=True)] == ["raw.disk", "start"]
    assert [bench.name for bench in suite.chosen(["startup"], peers=True)] == ["raw.disk", "startup"]
    with pytest.raises(LookupError, match="nothing"):
        suite.chosen(["lifecycle", "nothing"], peers=True)
