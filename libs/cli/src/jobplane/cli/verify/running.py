"""Looks at one invariant after the other, so that the platform is loaded by one query at a time."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import psycopg

from jobplane.cli.site import Site
from jobplane.cli.verify import audit, bodies, jobs, operations, outcomes, positions, queues, runs, stream, stuck
from jobplane.cli.verify.sources import Head, Sources, opened
from jobplane.cli.verify.verdict import Tally
from jobplane.contracts.errors import JobplaneError

Check = Callable[[Sources, Tally], Awaitable[None]]


async def _controls(sources: Sources, tally: Tally) -> None:
    await queues.check(sources, tally)
    await operations.check(sources, tally)


CHECKS: Final[dict[str, Check]] = {
    "I1": positions.check,
    "I2": stream.check,
    "I3": outcomes.check,
    "I4": runs.check,
    "I5": jobs.check,
    "I6": audit.check,
    "I7": stuck.check,
    "I8": bodies.check,
    "I9": _controls,
}


async def verify(
    site: Site, wanted: Sequence[str], start: int | None, advanced: Callable[[Tally], None]
) -> tuple[dict[str, Head], list[Tally]]:
    """The heads up to which everything was judged, and what was found, in the order wanted.

    Raises:
        Unavailable: the database cannot be reached; what goes away later leaves invariants unjudged.
    """
    async with opened(site) as sources:
        sources.start = start
        tallies = []
        for name in wanted:
            tally = Tally(name, advanced)
            begun = time.monotonic()
            await _judge(CHECKS[name], sources, tally)
            tally.seconds = time.monotonic() - begun
            tally.advanced(tally)
            tallies.append(tally)
        return sources.heads, tallies


async def _judge(check: Check, sources: Sources, tally: Tally) -> None:
    try:
        await check(sources, tally)
    except JobplaneError as error:
        tally.unjudged = str(error)
    except (psycopg.Error, OSError) as error:
        tally.unjudged = f"the database: {next(iter(str(error).splitlines()), type(error).__name__)}"
