"""The arithmetic of the soak, and the mix of jobs: nothing here runs a platform."""

from collections import Counter

import pytest

from tests.bench.scale import mix, watch
from tests.bench.scale.mix import End
from tests.bench.scale.trend import Trend, trend

HOUR = [float(at) for at in range(0, 3601, 60)]


def _trend(values: list[float], times: list[float] | None = None) -> Trend:
    found = trend("memory jobs", "MB", times or HOUR[: len(values)], values, allowed=0.05, slack=2.0)
    assert found is not None
    return found


def test_a_straight_line_has_its_slope_per_hour() -> None:
    found = _trend([100 + at / 360 for at in HOUR])
    assert found.per_hour == pytest.approx(10)
    assert [found.first, found.last] == pytest.approx([102, 110])
    assert found.verdict == "grows"


def test_noise_around_a_level_is_flat() -> None:
    assert _trend([100 + (-1) ** number for number in range(len(HOUR))]).verdict == "flat"


def test_what_falls_is_flat() -> None:
    assert _trend([200 - at / 60 for at in HOUR]).verdict == "flat"


def test_growth_within_the_slack_is_flat() -> None:
    assert _trend([1 + at / 3600 for at in HOUR]).verdict == "flat"


def test_the_warm_up_is_not_judged() -> None:
    assert _trend([at if at < 600 else 600.0 for at in HOUR]).per_hour == pytest.approx(0)


def test_a_short_run_is_not_judged() -> None:
    assert _trend([float(n) for n in range(10)]).verdict == "too short to judge"


def test_too_few_readings_give_no_trend() -> None:
    assert trend("memory", "MB", [0.0, 60.0], [1.0, 2.0], allowed=0.1, slack=1.0) is None
    assert trend("memory", "MB", [], [], allowed=0.1, slack=1.0) is None


def test_a_series_skips_readings_without_it() -> None:
    readings = [(0.0, {"a": 1.0}), (1.0, {"b": 2.0}), (2.0, {"a": 3.0})]
    assert watch.series(readings, "a") == ([0.0, 2.0], [1.0, 3.0])


def test_the_same_seed_gives_the_same_jobs() -> None:
    assert mix.planned(7, 512, 40) == mix.planned(7, 512, 40)
    assert mix.planned(7, 512, 40) != mix.planned(8, 512, 40)


def test_nine_jobs_in_ten_are_to_complete() -> None:
    ends = Counter(job.end for job in mix.planned(1, 0, 20_000))
    assert set(ends) == set(End)
    assert 0.88 < ends[End.COMPLETED] / 20_000 < 0.92
    assert 0.04 < ends[End.FAILED] / 20_000 < 0.06
