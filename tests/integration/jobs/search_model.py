"""What the search means, once more and as plainly as possible: a predicate over whole jobs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobplane.contracts.job_filter import Bounds, JobFilter, PayloadValue, Span, Words
from jobplane.contracts.jobs import JobView

SECRET = ("password", "token")


@dataclass(frozen=True)
class Known:
    """A job and who acted on it."""

    job: JobView
    actors: frozenset[str]


def matches(wanted: JobFilter, known: Known, now: datetime) -> bool:
    """Whether the filter means this job."""
    job, without = known.job, wanted.excluded
    fingerprint = job.error.fingerprint if job.error else None
    return all(
        (
            not wanted.status or job.status in wanted.status,
            not wanted.queue or job.queue in wanted.queue,
            not wanted.kind or any(map(_kind(job), wanted.kind)),
            not wanted.tag or bool({*wanted.tag} & {*job.tags}),
            not wanted.worker or job.worker in wanted.worker,
            not wanted.actor or bool({*wanted.actor} & known.actors),
            not wanted.asset or job.asset in wanted.asset,
            not wanted.fingerprint or fingerprint in wanted.fingerprint,
            not wanted.id or any(job.id.startswith(prefix) for prefix in wanted.id),
            not wanted.error or any(_says(_error_texts(job), words) for words in wanted.error),
            _within(wanted.created, job.created_at),
            _within(wanted.started, job.started_at),
            _within(wanted.finished, job.finished_at),
            _within(wanted.run_at, job.run_at),
            wanted.older is None or job.created_at <= now - wanted.older,
            wanted.newer is None or job.created_at > now - wanted.newer,
            _between(wanted.attempt, job.attempt),
            _between(wanted.priority, job.priority),
            all(_at(one.path, one.values, job.payload) for one in wanted.payload),
            all(_says(_all_texts(job), words) or _is_id(words, job.id) for words in wanted.text),
            job.status not in without.status,
            job.queue not in without.queue,
            not any(map(_kind(job), without.kind)),
            not {*without.tag} & {*job.tags},
        )
    )


def _kind(job: JobView) -> Any:
    return lambda kind: job.kind.startswith(kind[:-1]) if kind.endswith("*") else job.kind == kind


def _within(stretch: Span | None, instant: datetime | None) -> bool:
    if stretch is None:
        return True
    if instant is None:
        return False
    return (stretch.since is None or instant >= stretch.since) and (stretch.until is None or instant < stretch.until)


def _between(stretch: Bounds | None, number: int) -> bool:
    if stretch is None:
        return True
    return (stretch.least is None or number >= stretch.least) and (stretch.most is None or number <= stretch.most)


def _is_id(words: Words, job_id: str) -> bool:
    return len(words.text) >= 8 and job_id.startswith(words.text)


def _says(texts: Iterator[str], words: Words) -> bool:
    wanted = " ".join(re.split(r"[\W_]+", words.text.casefold())).strip()
    pattern = rf"(^| ){wanted}" + ("" if words.prefix else "( |$)")
    return any(re.search(pattern, " ".join(re.split(r"[\W_]+", text.casefold())).strip()) for text in texts)


def _error_texts(job: JobView) -> Iterator[str]:
    if job.error is not None:
        yield from (job.error.type, job.error.message)


def _all_texts(job: JobView) -> Iterator[str]:
    yield job.kind
    yield from job.tags
    yield from _error_texts(job)
    for _, value in _leaves((), job.payload):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(value)


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            if not any(secret in key.lower() for secret in SECRET):
                yield from _leaves((*path, key), below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(path, below)
    else:
        yield path, value


def _at(path: Sequence[str], values: Sequence[PayloadValue], payload: Any) -> bool:
    return any(_equal(value, found) for place, found in _leaves((), payload) if place == path for value in values)


def _equal(value: PayloadValue, found: Any) -> bool:
    if isinstance(found, str):
        return found == value.text
    return (
        not isinstance(value.scalar, str)
        and (type(found) is bool) == (type(value.scalar) is bool)
        and ((found is None) == (value.scalar is None) and found == value.scalar)
    )
