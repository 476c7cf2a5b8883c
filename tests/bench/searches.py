"""Searches through the API among a million jobs, which are made once and kept for the next time."""

import statistics
from collections.abc import Callable, Mapping
from typing import Final

from jobplane.local import migrate
from tests.bench.raw import Readings
from tests.bench.scale import populate, reading
from tests.bench.scale.ground import KEPT, Ground
from tests.bench.site import Scale, Site, projected
from tests.support import invariants
from tests.support.waiting import eventually

_PATIENCE_S: Final = 3600
_FAMILIES: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "filters.first": lambda depth, form: depth == "first" and not _looks_into(form),
    "filters.deep": lambda depth, form: depth != "first" and not _looks_into(form),
    "payload": lambda _depth, form: "payload" in form,
    "text": lambda _depth, form: "word" in form and "payload" not in form,
}


async def pages(site: Site, scale: Scale) -> Readings:
    """Pages of 50, at three depths; of each family of searches the median, and the p95 of its slowest form."""
    site.stop()
    count = scale.of(1_000_000, 2_000)
    ground = Ground(site.directory() if scale.quick else KEPT, count)
    ground.prepare()
    with ground.database(), ground.superuser() as admin:
        migrate.migrate(ground.url("owner"))
        await populate.fill(ground.url("jobs"), count, seed=1)
        await reading.index(ground.url("jobs"))
        admin.execute("VACUUM ANALYZE")  # what autovacuum does within minutes
    ground.platform.start()
    try:
        with invariants.connect(ground.platform) as conn:
            await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
            places, queries = reading.cursors(conn), reading.queries(conn)
            found = await reading.of_api(ground.platform, places, queries, times=scale.of(40, 2))
    finally:
        ground.platform.stop()
    return {name: value for family in _FAMILIES for name, value in _figures(family, found).items()}


def _figures(family: str, found: Mapping[str, float]) -> Readings:
    named = {
        name: name.split(" ", 2)[2].split(", ", 1) for name in found if name.startswith(("api page", "api search"))
    }
    mine = [name for name, (depth, rest) in named.items() if _FAMILIES[family](depth, rest.rpartition(" ")[0])]
    middle = statistics.median(found[name] for name in mine if name.endswith(" p50"))
    return {f"search.{family}.p50": middle, f"search.{family}.p95": max(found[n] for n in mine if n.endswith(" p95"))}


def _looks_into(form: str) -> bool:
    return "word" in form or "payload" in form
