"""Events that tell of many jobs, taken apart into the events that single commands would have made."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.operations import JobsChanged

_OWN: Final = ("job", "version")


def expand(event: EventRecord) -> Iterator[EventRecord]:
    """The events that one event tells of: itself, or those of each job, in the order of its items.

    Those of jobs share its id, position and cause, and name the operation; the number within them and the position
    name each for ever.

    Raises:
        InvalidMessage: it tells of many jobs, but not as declared.
    """
    if event.type != JobsChanged.TYPE:
        yield event
        return
    body = parsed(event)
    try:
        for item in body["items"]:
            data = body["shared"] | {name: value for name, value in item.items() if name not in _OWN}
            yield replace(
                event,
                stream_id=item["job"],
                version=item["version"],
                type=body["type"],
                data=json.dumps(data).encode(),
                operation_id=event.stream_id,
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidMessage(f"body of {event.type} is not as declared: {_fault(error)}") from error


def _fault(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def parsed(event: EventRecord) -> dict[str, Any]:
    """The body of an event that tells of many jobs, read without looking at each of them.

    Raises:
        InvalidMessage: it is not as declared.
    """
    try:
        body = json.loads(event.data)
    except ValueError as error:
        raise InvalidMessage(f"body of {event.type} is not JSON") from error
    if not (isinstance(body, dict) and isinstance(body.get("items"), list) and isinstance(body.get("shared"), dict)):
        raise InvalidMessage(f"body of {event.type} has no items")
    return body
