from typing import get_args

import pytest

from jobplane.chassis import metrics
from jobplane.chassis.metrics import METRICS, CounterName, GaugeName, HistogramName, Metric


def test_every_name_is_described_once() -> None:
    names = [metric.name for metric in METRICS]
    assert sorted(names) == sorted([*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName)])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_says_what_it_means_and_what_to_do(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.advice.endswith(".")
    assert (metric.name in get_args(HistogramName)) == bool(metric.buckets)


def test_what_is_measured_is_told() -> None:
    # labels of this test alone: the process may have measured before
    metrics.counter("jobplane_dead_letters_total").labels("only here").inc(2)
    metrics.gauge("jobplane_projection_halted").labels("only here").set(1)
    metrics.histogram("jobplane_batch_messages").labels("only here").observe(7)
    text = metrics.text().decode()
    assert 'jobplane_dead_letters_total{service="only here"} 2.0' in text
    assert 'jobplane_projection_halted{projection="only here"} 1.0' in text
    assert 'jobplane_batch_messages_bucket{le="10.0",writer="only here"} 1.0' in text
    assert metrics.gauge("jobplane_live_clients") is metrics.gauge("jobplane_live_clients")
