"""What a problem+json says, as one sentence for people."""

from collections.abc import Callable
from typing import Any, Final

from jobplane.cli import output

Problem = dict[str, Any]


def sentence(answer: Any) -> str:  # noqa: ANN401 - an httpx2.Response
    """What is wrong, where, what is known of it, and its code."""
    try:
        problem = answer.json()
    except ValueError:
        return f"status {answer.status_code}"
    detail = problem.get("detail") or problem.get("title") or f"status {answer.status_code}"
    wrong = "; ".join(filter(None, (_wrong(item, detail) for item in problem.get("errors", []))))
    code = problem.get("code")
    known = _KNOWN[code](problem) if code in _KNOWN else ""
    more = "".join(f" ({part})" for part in (wrong, known) if part)
    return f"{detail}{more}{f' [{code}]' if code else ''}"


def drifted(counts: dict[str, Any]) -> str:
    """How many jobs came to fit a plan's filter, and how many ceased to."""
    return f"+{counts['added']}/−{counts['gone']} since the plan"  # noqa: RUF001 - a minus sign, as wide as the plus


def _drift(problem: Problem) -> str:
    if "added" not in problem:
        return ""
    allowed = f", at most {problem['max_drift']} allowed" if "max_drift" in problem else ""
    return f"{drifted(problem)}{allowed}"


def _overtaken(problem: Problem) -> str:
    who = problem.get("changed_by_name") or (problem.get("changed_by") or {}).get("id")
    by = f" by {who}" if who else ""
    at = f" at {output.moment(problem['changed_at'])}" if problem.get("changed_at") else ""
    version = f", to version {problem['version']}" if problem.get("version") else ""
    return f"changed{by}{at}{version}" if by or at else ""


def _named(name: str, told: str) -> Callable[[Problem], str]:
    return lambda problem: told.format(problem[name]) if problem.get(name) else ""


_KNOWN: Final[dict[str, Callable[[Problem], str]]] = {
    "plan_drifted": _drift,
    "version_conflict": _overtaken,
    "already_undone": _named("undone_by", "undone by {}"),
    "unique_key_taken": _named("holder", "held by job {}"),
    "reason_required": lambda _problem: "with --reason",
    "still_unreadable": _named("reason", "{}"),
}
"""What some refusals tell besides, by their code; nothing if it is not there."""


def _wrong(item: dict[str, Any], told: str) -> str:
    """One thing that is wrong: the part of a query that it is about, or the name of the field; not what was told."""
    names = [str(name) for name in item.get("loc", [])]
    where = f"at {item['position']}: {item['token']!r}" if item.get("token") else ".".join(names)
    message = str(item.get("msg"))
    if message not in told:
        return f"{where}: {message}"
    return "" if names and told.startswith(names[min(1, len(names) - 1)]) else where
