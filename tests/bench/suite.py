"""The list of measurements, and how they are repeated."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
import uvloop

from tests.bench import bulks, commands, footprint, lifecycles, machine, raw, recovery, searches, storage, streams
from tests.bench.catalogue import measurement
from tests.bench.figures import Measurement, Run
from tests.bench.missing import NotHere
from tests.bench.peer_benches import PEERS
from tests.bench.raw import Readings
from tests.bench.site import Scale, Site

log = structlog.get_logger()

Measure = Callable[[Site, Scale], Awaitable[Readings]]


@dataclass(frozen=True, slots=True)
class Bench:
    """One thing to do, which gives some figures; `only` on the command line names it, or the beginning of a name."""

    name: str
    measure: Measure
    repetitions: int = 3


BENCHES: Final = (
    Bench("raw.disk", raw.disk_and_loop, 5),
    Bench("raw.postgres", raw.database),
    Bench("raw.nats", raw.bus),
    Bench("raw.http", raw.http),
    Bench("command.idle", commands.idle),
    Bench("command.32", commands.together),
    Bench("start", lifecycles.start),
    Bench("lifecycle.default", lifecycles.default),
    Bench("lifecycle.index", lifecycles.indexed),
    Bench("lifecycle.tuned", lifecycles.tuned),
    Bench("bulk.retry", bulks.retry),
    Bench("bulk.cancel", bulks.cancel),
    Bench("bulk.beside", bulks.beside),
    Bench("search", searches.pages, 1),
    Bench("relay", streams.relay),
    Bench("projection", streams.projection),
    Bench("orphan", recovery.orphans),
    Bench("bytes", storage.per_job, 1),
    Bench("startup", footprint.starts),
    Bench("idle", footprint.idle, 1),
)


def chosen(only: Sequence[str], *, peers: bool) -> list[Bench]:
    """Those to run, in order; all of ours where none is named, and the peers with `peers`.

    The disk and the loop are measured with whatever is named: without them two runs cannot be compared.

    Raises:
        LookupError: nothing is called so; its argument is the word.
    """
    everything = [*BENCHES, *(Bench(f"peer.{peer.name}", peer.measure) for peer in PEERS)]
    if only:
        names = [bench.name for bench in everything]
        meant = {name for word in only for name in _meant(word, names)}
        named = [bench for bench in everything if bench.name in meant]
        return [*(bench for bench in everything[:1] if named and bench not in named), *named]
    return everything if peers else list(BENCHES)


def _meant(word: str, names: Sequence[str]) -> list[str]:
    """The names that a word is, or begins, or that it names a figure of; plurals are understood."""
    words = (word, word.removesuffix("s"))
    whole = [name for name in names if f"{name}.".startswith(tuple(f"{one}." for one in words))]
    found = whole or [name for name in names if name.startswith(words) or word.startswith(f"{name}.")]
    if not found:
        raise LookupError(word)
    return found


def run(benches: Sequence[Bench], site: Site, scale: Scale, told: Callable[[str], None]) -> Iterator[Run]:
    """Measure; gives all figures so far after each bench. One that fails, or needs what is not here, is skipped."""
    so_far = Run(machine.describe(), ())
    try:
        for bench in benches:
            try:
                found = _repeated(bench, site, scale, told)
                so_far = replace(so_far, measurements=(*so_far.measurements, *found))
            except NotHere as error:
                so_far = replace(so_far, skipped={**so_far.skipped, bench.name: str(error)})
            except Exception as error:
                log.exception("bench.failed", bench=bench.name)
                why = f"failed: {type(error).__name__}: {error}"[:200]
                so_far = replace(so_far, skipped={**so_far.skipped, bench.name: why})
                site.stop()  # whatever state it is in, the next one gets another
            yield so_far
    finally:
        site.close()


def _repeated(bench: Bench, site: Site, scale: Scale, told: Callable[[str], None]) -> list[Measurement]:
    values: dict[str, list[float]] = {}
    repetitions = 1 if scale.quick else scale.repetitions or bench.repetitions
    for number in range(repetitions):
        told(f"{bench.name} {number + 1}/{repetitions}")
        for name, value in _measure(bench, site, scale).items():
            values.setdefault(name, []).append(value)
    return [measurement(name, many) for name, many in values.items()]


def _measure(bench: Bench, site: Site, scale: Scale) -> Readings:
    async def measured() -> Readings:
        return await bench.measure(site, scale)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())
