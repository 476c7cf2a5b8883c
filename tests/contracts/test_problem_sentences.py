"""The examples of problems say what the services say."""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator

import pytest

import jobplane.jobs
from jobplane.gateway.problem_examples import SAME_LIMITS, SENTENCES
from jobplane.jobs import bulk, decisions, queue
from jobplane.jobs.decisions import Rejected


def told() -> Iterator[tuple[str, str]]:
    for refusals in (bulk.REFUSALS, decisions.REFUSALS, queue.REFUSALS):
        yield from refusals.items()
    for found in pkgutil.iter_modules(jobplane.jobs.__path__):
        if found.name != "__main__":
            module = importlib.import_module(f"jobplane.jobs.{found.name}")
            yield from ((one.code, one.detail) for one in vars(module).values() if isinstance(one, Rejected))


SAID: dict[str, set[str]] = defaultdict(set)
for code, sentence in told():
    SAID[code].add(sentence)


@pytest.mark.parametrize("code", sorted(SAID))
def test_the_example_of_a_refusal_is_what_is_said(code: str) -> None:
    assert SENTENCES[code] in SAID[code]


def test_what_two_things_refuse_alike_each_says_in_its_own_words() -> None:
    assert SENTENCES["nothing_to_change"] == decisions.REFUSALS["nothing_to_change"]
    assert queue.REFUSALS["nothing_to_change"] == SAME_LIMITS
