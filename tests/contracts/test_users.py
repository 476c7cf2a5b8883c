"""Who may have whom do what over the bus, as it is declared."""

import pytest

from jobplane.contracts.dead_letters import REPLAY_EVENT
from jobplane.contracts.subjects import query
from jobplane.contracts.topology import FOLDED, USERS


def covers(pattern: str, subject: str) -> bool:
    wanted, told = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, told = wanted[:-1], told[: len(wanted) - 1]
    return len(wanted) == len(told) and all(word in {"*", part} for word, part in zip(wanted, told, strict=True))


@pytest.mark.parametrize("service", FOLDED)
def test_only_the_gateway_may_have_dead_events_replayed_and_only_it_is_answered(service: str) -> None:
    asked = query(service, REPLAY_EVENT)
    assert [user.name for user in USERS if any(covers(subject, asked) for subject in user.publish)] == ["gateway"]
    [answers] = [user for user in USERS if any(covers(subject.split()[0], asked) for subject in user.subscribe)]
    assert answers.publish == ("_INBOX_gateway.>",)
