"""Times, numbers and ages as queries write them."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from jobplane.contracts import instants
from jobplane.contracts.job_filter import LONGEST_AGE, Bounds, Span

_RANGE: Final = re.compile(r"(?P<sign>>=|<=|>|<)?(?P<first>.+?)(?:\.\.(?P<last>.+))?", re.DOTALL)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(?P<zone>[Zz]|[+-]\d{2}:\d{2})?")
_NUMBER: Final = re.compile(r"-?[0-9]+")
_LARGEST: Final = 10**9
_AGE: Final = re.compile(r"([0-9]+)(s|m|h|d|w)")
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DAY: Final = timedelta(days=1)
_INSTANT_STEP: Final = timedelta(microseconds=1)
_HOW_AGE: Final = "write a duration in whole numbers with its unit: 90s, 15m, 2h, 3d or 1w"
_HOW_TIME: Final = "write a day (2026-11-01), an instant with its zone (2026-11-01T12:00Z), a range (a..b), or >a"


class BadValue(ValueError):
    """The text means no value; `str(error)` says what to write."""


def span(text: str) -> Span:
    """A stretch of time: ``2026-11-01``, ``a..b`` (both ends included), ``>a``, ``>=a``, ``<b``, ``<=b``; days are UTC.

    Raises:
        BadValue: it is none.
    """
    sign, first, last = _parts(text, _HOW_TIME)
    begin, end = _stretch(first)
    if last is not None:
        return _span(begin, _stretch(last)[1])
    match sign:
        case ">":
            return _span(end, None)
        case ">=":
            return _span(begin, None)
        case "<":
            return _span(None, begin)
        case "<=":
            return _span(None, end)
    if end - begin < _DAY:
        raise BadValue(f"hardly anything happens at one instant: {_HOW_TIME}")
    return _span(begin, end)


def bounds(text: str) -> Bounds:
    """A stretch of numbers: ``3``, ``1..5``, ``>3``, ``>=3``, ``<3``, ``<=3``.

    Raises:
        BadValue: it is none.
    """
    how = "write a number (3), a range (1..5), or >=3"
    sign, first, last = _parts(text, how)
    numbers = [part for part in (first, last) if part is not None]
    if any(_NUMBER.fullmatch(part) is None for part in numbers):
        raise BadValue(how)
    if any(abs(int(part)) > _LARGEST for part in numbers):
        raise BadValue("the number is too large: no job has such a one")
    number = int(first)
    if last is not None:
        return _bounds(number, int(last))
    match sign:
        case ">":
            return _bounds(number + 1, None)
        case ">=":
            return _bounds(number, None)
        case "<":
            return _bounds(None, number - 1)
        case "<=":
            return _bounds(None, number)
    return _bounds(number, number)


def age(text: str) -> timedelta:
    """A duration: ``90s``, ``15m``, ``2h``, ``3d``, ``1w``.

    Raises:
        BadValue: it is none.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise BadValue(_HOW_AGE)
    if int(match[1]) == 0:
        raise BadValue(f"nothing takes no time: {_HOW_AGE}")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST_AGE.total_seconds():
        raise BadValue("that is more than ten years, and no job is kept so long: leave it out, or name a shorter time")
    return timedelta(seconds=seconds)


def narrowed(known: Any, found: Any) -> Any:  # noqa: ANN401 - spans, bounds or ages
    """What both mean.

    Raises:
        BadValue: nothing.
    """
    if known is None or known == found:
        return found
    match known, found:
        case Span(), Span():
            return _span(_most(known.since, found.since), _least(known.until, found.until))
        case Bounds(), Bounds():
            return _bounds(_most(known.least, found.least), _least(known.most, found.most))
    raise BadValue("it is given twice")


def told_span(stretch: Span) -> Iterator[str]:
    """What `span` and `narrowed` make the stretch of."""
    if stretch.since is not None:
        yield f">={instants.written(stretch.since)}"
    if stretch.until is not None:
        yield f"<{instants.written(stretch.until)}"


def told_bounds(stretch: Bounds) -> Iterator[str]:
    """What `bounds` makes the stretch of."""
    if stretch.least is not None and stretch.most is not None:
        yield str(stretch.least) if stretch.least == stretch.most else f"{stretch.least}..{stretch.most}"
    elif stretch.least is not None:
        yield f">={stretch.least}"
    elif stretch.most is not None:
        yield f"<={stretch.most}"


def told_age(duration: timedelta) -> str:
    """What `age` makes the duration of; a part of a second is not told."""
    seconds = int(duration.total_seconds())
    unit = next(name for name, length in _UNITS.items() if seconds % length == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def _parts(text: str, how: str) -> tuple[str | None, str, str | None]:
    match = _RANGE.fullmatch(text)
    if match is None or (match["sign"] and match["last"]):
        raise BadValue(how)
    return match["sign"], match["first"], match["last"]


def _stretch(text: str) -> tuple[datetime, datetime]:
    """The first instant of it, and the first after it."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return begin, begin + _DAY
        match = _INSTANT.fullmatch(text)
        if match is not None and match["zone"] is None:
            raise BadValue(f"an instant needs its time zone: write {text}Z for UTC")
        if match is not None:
            instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
            return instant, instant + _INSTANT_STEP
    except (ValueError, OverflowError) as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue("there is no such day or time") from error
    raise BadValue(_HOW_TIME)


def _span(since: datetime | None, until: datetime | None) -> Span:
    try:
        return Span(since=since, until=until)
    except ValidationError as error:
        raise BadValue("the range is empty: it ends before it begins") from error


def _bounds(least: int | None, most: int | None) -> Bounds:
    try:
        return Bounds(least=least, most=most)
    except ValidationError as error:
        raise BadValue("the range is empty: it ends before it begins") from error


def _most(first: Any, second: Any) -> Any:  # noqa: ANN401 - instants or numbers
    return max((value for value in (first, second) if value is not None), default=None)


def _least(first: Any, second: Any) -> Any:  # noqa: ANN401 - instants or numbers
    return min((value for value in (first, second) if value is not None), default=None)
