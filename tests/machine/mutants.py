"""Mistakes made on purpose in what writes many jobs, starts them or counts them: the machine must find each of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from jobplane.contracts.operations import BulkAction
from jobplane.jobs import allowance, bulk_actions, chunks, directives, outcomes, planner
from jobplane.jobs.allowance import Held, Permit
from jobplane.jobs.bulk_actions import Sets

Mutant = Callable[[], Any]


@contextmanager
def _in_the_statement(right: str, wrong: str) -> Iterator[None]:
    """The statement of a chunk, with one part of it written otherwise."""
    statement = chunks._statement.__wrapped__

    def mistaken(action: Any) -> str:
        text = statement(action)
        assert right in text, right
        return text.replace(right, wrong)

    with mock.patch.object(chunks, "_statement", mistaken):
        yield


def _written_anew() -> Any:
    """Statements of chunks are not kept from before the mistake."""
    return mock.patch.object(chunks, "_statement", chunks._statement.__wrapped__)


def a_chunk_is_done_twice() -> Any:
    """The cursor does not move with the changes."""
    once_more = "operation.next_chunk + (operation.done > 0 OR operation.codes <> '{}')::integer"
    return _in_the_statement("operation.next_chunk + 1", once_more)


def a_chunk_forgets_its_outcomes() -> Any:
    """What was skipped is not noted."""
    return _in_the_statement("SET codes = of_items.codes", "SET codes = NULL")


def a_paused_queue_starts_jobs() -> Any:
    """Whoever looks whether it is paused looks past it."""
    permit = allowance.permit

    def mistaken(found: Iterable[Held], *more: Any) -> Permit:
        return permit([replace(item, control=replace(item.control, paused=None)) for item in found], *more)

    return mock.patch.object(allowance, "permit", mistaken)


def bulk_retries_stay_in_their_error_groups() -> Any:
    """Only single retries are counted out."""
    return _both(mock.patch.object(Sets, "leaves_group", property(lambda _: False)), _written_anew())


def two_jobs_of_a_chunk_take_one_key() -> Any:
    """Each sees the key as free."""
    return _both(mock.patch.object(chunks, "_FIRST_OF_KEY", "decided.code"), _written_anew())


@contextmanager
def an_undo_overrules_what_came_after() -> Iterator[None]:
    """Nobody looks whether the jobs were changed since."""
    with (
        mock.patch.object(chunks, "CHANGED_SINCE", "false"),
        mock.patch.object(planner, "CHANGED_SINCE", "false"),
        _written_anew(),
    ):
        yield


def a_directive_is_decided_again_when_it_comes_again() -> Any:
    """Its outcome is written, but never looked up; and nothing stops the second one."""

    async def forgetful(*_: Any) -> None:
        return None

    again = "ON CONFLICT (command_id) DO UPDATE SET code = excluded.code, status = excluded.status"
    lenient = directives._REMEMBER + again
    return _both(mock.patch.object(outcomes, "load", forgetful), mock.patch.object(directives, "_REMEMBER", lenient))


@contextmanager
def _both(*patches: Any) -> Iterator[None]:
    with patches[0], patches[1]:
        yield


@contextmanager
def a_cut_off_run_counts_after_a_bulk_restore() -> Iterator[None]:
    """As it does not after a single one."""
    restore = bulk_actions.ACTIONS[BulkAction.RESTORE]
    wrong = replace(restore, sets={**restore.sets, "attempt": "d.attempt"}, says={"attempt": "d.attempt"})
    mistaken = {**bulk_actions.ACTIONS, BulkAction.RESTORE: wrong}
    with (
        mock.patch.object(chunks, "ACTIONS", mistaken),
        _written_anew(),
    ):
        yield


ORDINARY: Final[tuple[Mutant, ...]] = (
    a_chunk_is_done_twice,
    bulk_retries_stay_in_their_error_groups,
)
"""Tried in every run of the tests."""
MUTANTS: Final[tuple[Mutant, ...]] = (
    *ORDINARY,
    a_paused_queue_starts_jobs,
    a_chunk_forgets_its_outcomes,
    two_jobs_of_a_chunk_take_one_key,
    an_undo_overrules_what_came_after,
    a_directive_is_decided_again_when_it_comes_again,
    a_cut_off_run_counts_after_a_bulk_restore,
)
"""Tried where there is time."""
