"""Questions to JetStream that change nothing."""

import json
from typing import Any, Final

from nats.errors import Error as NatsError

from jobplane.chassis.bus import Connection
from jobplane.contracts.errors import JobplaneError, Unavailable

_TIMEOUT_S: Final = 3.0


async def api(nc: Connection, call: str) -> dict[str, Any]:
    """What JetStream answers.

    Raises:
        Unavailable: nothing.
        JobplaneError: no, with its reason.
    """
    try:
        answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{call}", b"", timeout=_TIMEOUT_S)).data)
    except (NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"JetStream does not answer {call}: {type(error).__name__}") from error
    if "error" in answer:
        raise JobplaneError(f"JetStream refuses {call}: {answer['error'].get('description')}")
    return answer
