"""What a worker is told by its environment."""

import re

import pytest
from pydantic import ValidationError

from jobplane.contracts.subjects import WORKER_PATTERN
from jobplane.worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBPLANE_NATS_URL", "nats://worker:secret@127.0.0.1:4222")


def told() -> WorkerSettings:
    return WorkerSettings()


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBPLANE_WORKER_QUEUES", "fast, slow,fast")
    monkeypatch.setenv("JOBPLANE_WORKER_MODULES", "my.module,jobplane.images")
    assert told().worker_queues == ("fast", "slow")
    assert told().worker_modules == ("my.module", "jobplane.images")


def test_a_worker_without_a_name_gets_one_that_may_stand_in_a_subject() -> None:
    assert re.fullmatch(WORKER_PATTERN, told().instance)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOBPLANE_WORKER_QUEUES", "*"),
        ("JOBPLANE_WORKER_QUEUES", ","),
        ("JOBPLANE_WORKER_QUEUES", "a.b"),
        ("JOBPLANE_WORKER_CONCURRENCY", "4096"),
        ("JOBPLANE_INSTANCE", "a.b"),
        ("JOBPLANE_WORKER_LEASE_MS", "10"),
    ],
)
def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        told()


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(told())
