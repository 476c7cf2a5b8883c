"""The SQL that a filter means: for all jobs that match, and for those among some that were looked up before."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs import conditions, search_terms
from jobplane.jobs.conditions import Condition, conjunction
from jobplane.jobs.redaction import Redaction

ROW_COLUMNS: Final = (
    "id, status, queue, kind, tags, worker, asset, error_fingerprint, created_at, started_at, finished_at, run_at, "
    "attempt, priority"
)
"""Of `job`: what the conditions of rows are about."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter as conditions on rows of `job` and on entries `s` of `job_search`."""

    rows: Condition
    """True where the rows say nothing."""
    entries: Condition | None
    """What only the index can tell; none if it need not be asked."""
    narrowed: Condition | None
    """All that the index knows: it narrows what is looked at, `rows` decides; none if it knows nothing."""


@dataclass(frozen=True, slots=True)
class Matching:
    """A SELECT of the ids of all jobs that match, in no order."""

    text: str
    parameters: list[object]
    needs_index: bool
    """It is exact as of the position that the index has reached (`SearchIndex.reach`), not of this snapshot."""


def asked(wanted: JobFilter, redaction: Redaction) -> Asked:
    """The conditions.

    Raises:
        Refused: `field_redacted`.
    """
    refuse_hidden(wanted, redaction)
    rows, entries = conjunction(conditions.of_rows(wanted)), list(_of_entries(wanted))
    beside = search_terms.asked_beside(wanted)
    narrowed = [*entries, *([Condition("s.terms @@ %s::tsquery", [beside])] if beside else [])]
    if narrowed and set(wanted.status) == {JobStatus.FAILED}:
        narrowed.append(Condition("s.terms @@ %s::tsquery", [search_terms.FAILED]))
    return Asked(
        rows=rows,
        entries=conjunction(entries) if entries else None,
        narrowed=conjunction(narrowed) if narrowed else None,
    )


def matching(wanted: JobFilter, redaction: Redaction) -> Matching:
    """The ids of all jobs that match, for an `INSERT … SELECT` in one snapshot: `SELECT id FROM …`, without a limit.

    Raises:
        Refused: `field_redacted`.
    """
    found = asked(wanted, redaction)
    text, parameters = found.rows
    if found.entries is None:
        return Matching(f"SELECT id FROM job WHERE {text}", [*parameters], needs_index=False)  # noqa: S608 - constants
    entries, told = found.narrowed or found.entries
    select = f"SELECT id FROM job JOIN job_search AS s ON s.job_id = job.id WHERE {entries} AND {text}"  # noqa: S608 - constants
    return Matching(select, [*told, *parameters], needs_index=True)


def _of_entries(wanted: JobFilter) -> Iterator[Condition]:
    terms = search_terms.asked(wanted)
    plain = [search_terms.asked_of_words(words) for words in wanted.text if words.id_prefix is None]
    together = " & ".join([*([terms] if terms else []), *plain])
    if together:
        yield Condition("s.terms @@ %s::tsquery", [together])
    for words in wanted.text:
        if words.id_prefix is not None:
            ids = conditions.of_ids("s.job_id", [words.id_prefix])
            text = f"s.terms @@ %s::tsquery OR {ids.text}"
            yield Condition(text, [search_terms.asked_of_words(words), *ids.parameters])


def refuse_hidden(wanted: JobFilter, redaction: Redaction) -> None:
    """Refuse to look for what nobody may see.

    Raises:
        Refused: `field_redacted`.
    """
    for one in wanted.payload:
        hidden = redaction.hidden(one.path)
        if hidden is not None:
            detail = f'Values below "{hidden}" are redacted and cannot be searched: leave this condition out.'
            raise Refused("field_redacted", detail, {"field": ".".join(("payload", *one.path))})
