"""Small shared parts of routes: JSON that is ready to send, path ids, and pages of lists."""

import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path, Query
from pydantic import AwareDatetime, BeforeValidator, Strict, StringConstraints
from pydantic_core import to_json
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

JobIdPath = Annotated[UUID, Path(description="The job's id.", examples=["01920a3c-7f00-7a00-8000-0123456789ab"])]


class _JobInPath(StringConvertor):
    """What may be the id of a job: not the name of something else at the same place, which has methods of its own."""

    regex = "(?!bulk$)[^/]+"


register_url_convertor("job", _JobInPath())
ONE_JOB: Final = "/{job_id:job}"
"""The address of one job, below that of all of them."""
CommandIdPath = Annotated[
    UUID, Path(description="The command's id.", examples=["01920a3d-1200-7c00-9000-ba9876543210"])
]
AssetIdPath = Annotated[UUID, Path(description="The file's id.", examples=["01920a3b-5500-7b00-a000-00000000a55e"])]

_LONGEST_CURSOR: Final = 1000
_NO_CONTROLS: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=_NO_CONTROLS)]
Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]
PageCursor = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=_LONGEST_CURSOR,
        description="`next_cursor` of the page before; left out for the first.",
        examples=["MDE5MjBhM2M"],
    ),
]
_WRITTEN_OUT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")


def _written_out(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _WRITTEN_OUT.match(value)):
        return value
    msg = "write the instant as 2026-11-22T12:00:00Z"
    raise ValueError(msg)


Instant = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_written_out)]
"""An instant with its time zone; bare numbers are refused, for nobody can tell their unit."""
Since = Annotated[Instant | None, Query(description="Not before this instant.", examples=["2026-11-22T12:00:00Z"])]
Until = Annotated[Instant | None, Query(description="Before this instant.", examples=["2026-11-23T12:00:00Z"])]


def ready(value: Any, headers: dict[str, str] | None = None, status_code: int = 200) -> Response:  # noqa: ANN401 - JSON
    """A response with JSON bytes: values come from our own services and are not validated once more."""
    return Response(to_json(value), status_code, headers, media_type="application/json")
