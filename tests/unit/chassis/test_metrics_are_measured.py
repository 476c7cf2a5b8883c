"""A metric that is declared is measured somewhere, and read by nobody in vain."""

from pathlib import Path

import pytest

from jobplane.chassis.metrics import METRICS, Metric

ROOT = Path(__file__).parents[3]
SOURCES = [
    path.read_text()
    for folder in ("libs", "services", "workloads")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "metrics.py"
]
OWN = {"jobplane_batch_messages", "jobplane_batch_seconds"}
"""Measured by `metrics.batch`."""


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_measured(metric: Metric) -> None:
    wanted = "metrics.batch(" if metric.name in OWN else f'"{metric.name}"'
    assert any(wanted in source for source in SOURCES)
