"""What callers send to change many jobs, and the commands that it means."""

from uuid import UUID

from pydantic import Field, JsonValue

from jobplane.chassis.ids import new_id
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.operations import MAX_RATE, MOST_IDS, BulkAction, BulkEdit, PlanOperation, RunOperation
from jobplane.contracts.search_grammar import LONGEST_QUERY
from jobplane.contracts.subjects import QUEUE_PATTERN
from jobplane.gateway.answers import Instant, Reason
from jobplane.gateway.bodies import Wish
from jobplane.gateway.searches import filter_of


class Changes(Wish):
    """What to change in each job; what is left out (or null) stays as it is."""

    queue: str | None = Field(default=None, pattern=QUEUE_PATTERN)
    """Where workers look for it."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: Instant | None = None
    """Not before this instant (RFC 3339 with a time zone); one that has passed means at once."""
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    """How many attempts it may take, those it has taken included."""
    payload: JsonValue = None
    """Refused: payloads are changed one by one."""


class BulkWish(Wish):
    """What to do to many jobs."""

    action: BulkAction = Field(examples=["retry"])
    """What to do to each of them; with a plan: what was planned."""
    plan: UUID | None = None
    """Run this plan: the id of an operation that was made with `dry_run`. Says which jobs, and how many a second."""
    max_drift: int | None = Field(default=None, ge=0, examples=[10])
    """Only with a plan: refuse if more jobs than this came to fit the filter, or ceased to, since it was made."""
    ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=MOST_IDS, examples=[["01920a3c-7f00-7a00-8000-0123456789ab"]]
    )
    """These jobs; for more, give a filter."""
    filter: str | None = Field(default=None, max_length=LONGEST_QUERY, examples=["status:failed kind:image.* older:2h"])
    """All jobs that match this query (the same as `q` of the list); without any condition it needs `all`."""
    all: bool = False
    """Every job there is; only then may the filter be empty."""
    edit: Changes | None = None
    """What to change, if that is the action."""
    reason: Reason | None = Field(default=None, examples=["the disk is full no longer"])
    """Why, in your words; kept in the audit log. Needed for more jobs than the installation allows without."""
    dry_run: bool = False
    """Only plan: tells which jobs, and what would become of them. Its id is the token to run it with."""
    rate: float | None = Field(default=None, ge=0.1, le=MAX_RATE, examples=[200])
    """At most so many jobs a second."""


def command_to_plan(wish: BulkWish, wanted: JobFilter | None) -> PlanOperation:
    """The command to make a new operation of the jobs that `filter_in` found in the wish, if not of its ids.

    Raises:
        Refused: what cannot be.
    """
    if wish.max_drift is not None:
        raise Refused("plan_required", "Only a plan can drift: give its id as plan, or leave max_drift out.")
    if wish.edit is not None and "payload" in wish.edit.model_fields_set:
        raise Refused("payload_not_in_bulk", "Payloads are changed one by one: leave payload out.")
    return PlanOperation(
        operation_id=new_id(),
        action=wish.action,
        ids=[JobId(str(id_)) for id_ in wish.ids] if wish.ids is not None else None,
        filter=None if wanted is None else wanted.model_dump(mode="json", exclude_defaults=True),
        edit=BulkEdit.model_validate(wish.edit.model_dump(exclude={"payload"})) if wish.edit else None,
        rate=wish.rate,
        then_run=not wish.dry_run,
    )


def command_to_run(wish: BulkWish) -> RunOperation:
    """The command to run a plan.

    Raises:
        Refused: something else is said, too, that is settled by the plan.
    """
    beside = [name for name in ("ids", "filter", "edit", "rate") if getattr(wish, name) is not None]
    beside += [name for name in ("all", "dry_run") if getattr(wish, name)]
    if beside:
        raise Refused("selector_ambiguous", f"The plan says which jobs and how: leave {' and '.join(beside)} out.")
    return RunOperation(operation_id=str(wish.plan), max_drift=wish.max_drift, action=wish.action)


def filter_in(wish: BulkWish) -> JobFilter | None:
    """Which jobs a wish means, if it does not say their ids.

    Raises:
        Refused: nobody said which jobs, or said it twice. Misread: the query cannot be understood.
    """
    if wish.ids is not None and (wish.filter is not None or wish.all):
        raise Refused("selector_ambiguous", "Say in one way which jobs: give ids or a filter, not both.")
    if wish.ids is not None:
        return None
    if wish.filter is None and not wish.all:
        raise Refused("selector_required", "Say which jobs: give ids or a filter.")
    wanted = filter_of(wish.filter or "", loc=("body", "filter"))
    if wanted.is_empty and not wish.all:
        raise Refused("selector_required", "This filter means every job there is: if you want that, say all: true.")
    return wanted
