"""What a page of a journal says of positions that it does not have."""

import pytest

from jobplane.chassis.journal_pages import between, is_next, undecided
from jobplane.contracts.queries import JournalEvent, JournalFigures, JournalPage


def page(*positions: int, epoch: int = 1, first: int = 1, head: int = 0, kept_from: int = 1) -> JournalPage:
    events = [
        JournalEvent(position=at, subject="jobs.evt.0._.x", headers={"n": str(at)}, data="{}") for at in positions
    ]
    figures = JournalFigures(position=head or max(positions, default=0), relayed=0, epoch=epoch, first=first)
    return JournalPage(events=events, figures=figures, kept_from=kept_from)


def given(told: JournalPage, position: int, first: int) -> list[int]:
    return [sequence for sequence, _, _ in between(told, position, first)]


def test_events_are_messages_of_the_stream() -> None:
    assert between(page(4), 3, 9) == [(4, {"n": "4"}, b"{}")]


def test_what_the_stream_has_is_left_to_it() -> None:
    assert given(page(4, 5, 6, 7), 3, 6) == [4, 5]
    assert given(page(4, 5), 3, 4) == []


@pytest.mark.parametrize(
    ("positions", "follow"),
    [((5, 6), []), ((4, 6, 7), [4]), ((4, 5, 9), [4, 5])],
)
def test_they_end_before_a_gap(positions: tuple[int, ...], follow: list[int]) -> None:
    assert given(page(*positions), 3, 100) == follow


def test_the_last_epoch_may_begin_behind_a_gap() -> None:
    told = page(4, 20, 21, epoch=2, first=20)
    assert given(told, 3, 100) == [4, 20, 21]
    assert given(page(4, 21, epoch=2, first=20), 3, 100) == [4]
    assert given(page(4, 20, 30, epoch=2, first=20), 3, 100) == [4, 20]


def test_an_earlier_epoch_may_begin_behind_a_gap_where_older_events_are_kept() -> None:
    told = page(4, 10, 11, 20, epoch=3, first=20)
    assert given(told, 3, 100) == [4, 10, 11, 20]
    assert given(page(10, 11, epoch=3, first=20, kept_from=10), 3, 100) == []
    assert given(page(10, 11, epoch=3, first=20, kept_from=0), 3, 100) == []
    assert given(page(4, 10, epoch=2, first=20), 3, 100) == [4]
    assert given(page(20, 30, epoch=3, first=20), 19, 100) == [20]


def test_the_stream_goes_on_where_an_epoch_began_although_it_has_no_event_yet() -> None:
    assert is_next(page(epoch=2, first=20, head=19), 5, 20)
    assert not is_next(page(epoch=2, first=20, head=30), 5, 25)


def test_what_may_still_come_to_light_is_not_given_up() -> None:
    assert undecided(page(head=9), 10) is None
    assert undecided(page(head=8), 10) == "the journal ends at 8, the stream begins at 10"
    assert undecided(page(head=20, epoch=2, first=21), 10) == "the stream is made anew: an epoch begins at 21"
    halted = page(head=20)
    halted = halted.model_copy(update={"figures": halted.figures.model_copy(update={"halted": "another history"})})
    assert undecided(halted, 10) == "the journal is halted: another history"
