"""Events that tell of many jobs, taken apart a second time: from docs/messages.md, not with `contracts.expansion`."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.chaos.evidence import Row

CHUNK = "operation.jobs_changed.v1"


def unfolded(event: Row) -> Iterator[Row]:
    """The events of jobs that one event tells of, in its order: itself, or one for each of its items."""
    if event["type"].startswith("job."):
        yield event
    if event["type"] != CHUNK:
        return
    told = json.loads(event["data"])
    for item in told["items"]:
        body = {name: value for name, value in item.items() if name not in {"job", "version"}}
        yield event | {
            "stream_id": item["job"],
            "version": item["version"],
            "type": told["type"],
            "data": json.dumps(told["shared"] | body),
        }


def histories(events: Iterable[Row]) -> dict[str, list[Row]]:
    """The events of each job, oldest first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        for one in unfolded(event):
            found[one["stream_id"]].append(one)
    return dict(found)


def of_jobs(events: Iterable[Row]) -> list[Row]:
    """All that happened to jobs, in order."""
    return [one for event in events for one in unfolded(event)]
