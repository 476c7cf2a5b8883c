"""The next ready jobs of a queue: the statements that lock them, however many others are ready there."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Final

from jobplane.chassis.arrays import texts
from jobplane.chassis.exchange import Parameter
from jobplane.jobs import control_rows, rows
from jobplane.jobs.allowance import Permit, keys_of

_SMALL_PAYLOAD_BYTES: Final = 4096
"""Payloads up to this size come with the claim."""
_IN_TURN: Final = "forced DESC, priority DESC, run_at, id"
_READY: Final = f"""(
    SELECT id, forced, priority, run_at FROM job WHERE queue = %s AND kind = %s AND ready ORDER BY {_IN_TURN}
)"""  # noqa: S608 - constants
_SOME: Final = f"""(
    SELECT id, forced, priority, run_at FROM job WHERE queue = %s AND kind = %s AND ready
    ORDER BY {_IN_TURN} LIMIT %s
)"""  # noqa: S608 - constants
_FORCED: Final = f"""(
    SELECT id, forced, priority, run_at FROM job WHERE queue = %s AND kind = %s AND ready AND forced
    ORDER BY {_IN_TURN} LIMIT %s
)"""  # noqa: S608 - constants
# The ready jobs of each kind come in order from the index, and are merged as far as they are needed; each is then
# locked by itself. So no job is locked that is not taken, and others that hold the first ones are passed by.
_CLAIM: Final = f"""
SELECT {rows.LOCKED_COLUMNS},
    (SELECT CASE WHEN length(data) <= {_SMALL_PAYLOAD_BYTES} THEN data END FROM body WHERE ref = payload_ref),
    coalesce((SELECT length(data) FROM body WHERE ref = payload_ref), 0)
FROM (SELECT id AS next_id FROM ({{ready}}) AS ready ORDER BY {_IN_TURN}) AS next,
    LATERAL (SELECT * FROM job WHERE id = next_id AND ready FOR UPDATE SKIP LOCKED) AS job
{{condition}} LIMIT %s
"""  # noqa: S608 - constants
_UNCONTROLLED: Final = f"WHERE NOT EXISTS {control_rows.ACTIVE}"
# The order comes from the index alone: on a table that grew since it was last analysed, the planner would rather read
# and sort all that is ready, for each claim. Nor does it plan anew for each claim of a worker with hundreds of kinds.
# Nobody changes a control until the claim is over.
BEFORE: Final = f"""
SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true),
    {control_rows.SHARE}
"""
"""Goes before a claim, in its transaction."""


def claim(queue: str, kinds: Sequence[str], limit: int) -> tuple[str, list[Parameter]]:
    """The statement that locks the next ready jobs of some kinds, and its parameters; none if one is controlled.

    A text is for twice as many kinds as the one before, so that few have to be prepared; no job is of the kind NULL.
    """
    wanted = sorted(set(kinds))
    told = chain.from_iterable((queue, kind) for kind in _padded(wanted))
    return _statement(_width(wanted)), [*told, texts(sorted(keys_of(queue, wanted))), limit]


def permitted(queue: str, permit: Permit) -> tuple[str, list[Parameter]]:
    """The statement that locks the next ready jobs as far as they may start, and its parameters."""
    forced = sorted(permit.forced)
    others = sorted(permit.kinds.keys() - set(forced))
    told = chain.from_iterable(
        (queue, kind, permit.kinds[kind] if kind is not None else 0) for kind in (*_padded(others), *_padded(forced))
    )
    return _permitted_statement(_width(others), _width(forced)), [*told, permit.most]


def _width(kinds: Sequence[str]) -> int:
    return 1 << (len(kinds) - 1).bit_length() if kinds else 0


def _padded(kinds: Sequence[str]) -> list[str | None]:
    return [*kinds, *[None] * (_width(kinds) - len(kinds))]


@cache
def _statement(kinds: int) -> str:
    return _CLAIM.format(ready=" UNION ALL ".join([_READY] * kinds), condition=_UNCONTROLLED)


@cache
def _permitted_statement(others: int, forced: int) -> str:
    return _CLAIM.format(ready=" UNION ALL ".join([_SOME] * others + [_FORCED] * forced), condition="")
