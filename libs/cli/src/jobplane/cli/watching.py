"""Following jobs over the live stream, whatever breaks in between."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from jobplane.cli.client import Client, part
from jobplane.cli.failures import Exit, Failed
from jobplane.contracts.operations import JobsChanged

FINISHED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_AGAIN_S: Final = 1.0
_TRIES: Final = 15
"""So many connections in a row may fail: longer than a restart takes."""

Event = dict[str, Any]


def follow(client: Client, job_ids: list[str], tell: Callable[[Event], None]) -> bool:
    """Tell every event of these jobs (of all, if none is named) until they are finished.

    Returns whether all were completed. A job that is not there is refused. Without ids only an exception ends it.
    """
    jobs = _Jobs(client, job_ids)
    last_id = jobs.look()
    failed = 0
    while not jobs.finished():
        try:
            with client.lines("/live", last_event_id=last_id) as lines:
                for name, id_, event in parsed(lines):
                    failed = 0
                    last_id = id_ or last_id
                    if name == "reset":
                        jobs.look()
                    for one in each(event):
                        if jobs.meant(one):
                            tell(one)
                    if jobs.finished():
                        return jobs.completed()
        except Failed as error:
            failed += 1
            if error.code != Exit.UNREACHABLE or failed >= _TRIES:
                raise
        if not jobs.finished():
            time.sleep(_AGAIN_S)
    return jobs.completed()


class _Jobs:
    """What is known of the jobs that are followed."""

    def __init__(self, client: Client, job_ids: list[str]) -> None:
        self._client = client
        self._status: dict[str, str] = dict.fromkeys(job_ids, "")

    def finished(self) -> bool:
        return bool(self._status) and all(status in FINISHED for status in self._status.values())

    def completed(self) -> bool:
        return all(status == "COMPLETED" for status in self._status.values())

    def look(self) -> str | None:
        """How they are now; from where to follow so that nothing between is missed."""
        if not self._status:
            return None
        position = self._client.get("/stats")["position"]
        for job_id in self._status:
            self._status[job_id] = self._client.get(f"/jobs/{part(job_id)}")["status"]
        # Another epoch answers with a reset, after which they are looked at again.
        return f"1.j{position}"

    def meant(self, event: Event) -> bool:
        """Whether it is about one of them; if so, note it."""
        if not str(event.get("type", "")).startswith("job."):
            return False
        if not self._status:
            return True
        job_id = event.get("subject")
        if job_id not in self._status:
            return False
        after = (event.get("data") or {}).get("after")
        if after:
            self._status[job_id] = after
        return True


def each(event: Event) -> Iterator[Event]:
    """The events that one tells of: itself, or those of the jobs that a bulk operation changed, which name it."""
    if event.get("type") != JobsChanged.TYPE:
        yield event
        return
    body = event["data"]
    for item in body["items"]:
        own = {name: value for name, value in item.items() if name not in {"job", "version"}}
        operation = {"operation_id": event["subject"]}
        yield event | operation | {"type": body["type"], "subject": item["job"], "data": body["shared"] | own}


def parsed(lines: Iterator[str]) -> Iterator[tuple[str, str | None, Event]]:
    """Server-sent events (WHATWG HTML, 9.2.6): name, id and content of each; comments are left out."""
    name, id_, content = "message", None, ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            id_ = value
        elif field == "data":
            content += value
        elif not line and content:
            yield name, id_, json.loads(content)
        if not line:
            name, content = "message", ""
