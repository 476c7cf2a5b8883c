"""Turns templates into pages: the Jinja environment, its filters, and the addresses of static files."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import JsonValue
from starlette.responses import HTMLResponse

from jobplane.chassis import clock
from jobplane.contracts.jobs import JobStatus, JobView, StopState
from jobplane.gateway.console import static, words

_PACKAGE: Final = Path(__file__).parent.parent
_MAKES_THUMBNAILS: Final = "image.thumbnail"
"""The kind whose finished jobs have a picture to show; lists do not tell which others have one."""


def html(
    template: str, values: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A rendered template as a response that nobody may store: every screen holds what one person may see."""
    text = _environment().get_template(template).render(now=clock.now(), **values)
    return HTMLResponse(text, status, {"Cache-Control": "no-store", "Vary": "HX-Request", **(headers or {})})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PACKAGE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(icon=icon, status=status, static=static.address)
    environment.filters.update(
        age=words.age,
        action_word=words.action_word,
        event_error=words.event_error,
        event_facts=words.event_facts,
        event_word=words.event_word,
        has_thumbnail=has_thumbnail,
        instant=words.instant,
        number=words.number,
        pretty=_pretty,
        seconds=words.span,
        short_id=words.short_id,
        status_word=_status_word,
        stop_word=_stop_word,
        took=words.took,
    )
    return environment


@cache
def icon(name: str, classes: str = "") -> Markup:
    """A picture of the sprite; it only decorates, words beside it say what it means."""
    sprite = static.address("console/icons.svg")
    drawn = f'<use href="{sprite}#{name}"></use>'
    return Markup(f'<svg class="icon {classes}" aria-hidden="true" focusable="false">{drawn}</svg>')  # noqa: S704 - ours


@cache
def status(value: JobStatus) -> Markup:
    """A status as a coloured word."""
    word = words.STATUS_WORDS[value]
    return Markup(f'<span class="status" data-status="{value}">{word}</span>')  # noqa: S704 - ours


def has_thumbnail(view: JobView) -> bool:
    """Whether the job has certainly made a thumbnail of its file."""
    return view.asset is not None and view.kind == _MAKES_THUMBNAILS and view.status is JobStatus.COMPLETED


def _pretty(value: JsonValue) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _status_word(value: JobStatus | str) -> str:
    """A status in words; the audit log may hold words of other things than jobs, which stay as they are."""
    try:
        return words.STATUS_WORDS[JobStatus(value)]
    except ValueError:
        return value


def _stop_word(value: StopState) -> str:
    return words.STOP_WORDS[value]
