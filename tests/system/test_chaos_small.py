"""One short run of chaos in every test run: the harness works, and so do the invariants; `just chaos` is the whole."""

from pathlib import Path

import pytest

from tests.chaos.act import run
from tests.chaos.scenarios import SCENARIOS

pytestmark = [pytest.mark.system, pytest.mark.chaos]


def test_a_service_killed_under_load_breaks_no_invariant(tmp_path: Path) -> None:
    result = run(SCENARIOS["kill-jobs-after-commit"], seed=1, directory=tmp_path / "chaos")
    assert result.violations == ()
    assert result.operations > 0
    assert result.faults > 0
