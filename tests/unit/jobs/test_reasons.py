"""Which commands need a reason, and who has to give one."""

import pytest

from jobplane.contracts.actors import Actor, ActorKind, agent, system
from jobplane.jobs.decider import AnyCommand
from jobplane.jobs.reasons import BY_DEFAULT, KNOWN, ReasonPolicy
from tests.unit.jobs.story import cancel, create, edit, retry

ADMIN = Actor(id="019a0000-0000-7000-8000-00000000000a", kind=ActorKind.USER)


@pytest.mark.parametrize("command", [edit(payload={"n": 1}), edit(payload={}, priority=1)])
def test_an_edit_of_a_payload_needs_a_reason_unless_the_installation_says_otherwise(command: AnyCommand) -> None:
    assert BY_DEFAULT.misses(command, ADMIN, None)
    assert BY_DEFAULT.misses(command, ADMIN, "  ")
    assert not BY_DEFAULT.misses(command, ADMIN, "too small")
    assert not ReasonPolicy.of([]).misses(command, ADMIN, None)


@pytest.mark.parametrize("command", [edit(priority=1), retry(), cancel(), create(payload={"n": 1})])
def test_nothing_else_needs_one_by_default(command: AnyCommand) -> None:
    assert not BY_DEFAULT.misses(command, ADMIN, None)


def test_any_verb_can_be_made_to_need_one() -> None:
    policy = ReasonPolicy.of(["cancel", " edit "])
    assert policy.misses(cancel(), ADMIN, None)
    assert policy.misses(edit(priority=1), ADMIN, None)
    assert not policy.misses(retry(), ADMIN, None)


@pytest.mark.parametrize("actor", [agent("shop"), system("health")])
def test_programs_give_no_reasons(actor: Actor) -> None:
    assert not ReasonPolicy.of(KNOWN).misses(create(), actor, None)


def test_an_unknown_verb_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown: explode; there are .*edit_payload"):
        ReasonPolicy.of(["explode", "cancel"])
