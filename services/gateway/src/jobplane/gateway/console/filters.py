"""Which part of a list a screen shows: filters and cursor as the address has them, and the addresses of links."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from jobplane.contracts.audit import AuditAction, AuditQuery
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.queries import ListJobs
from jobplane.contracts.search_grammar import LONGEST_QUERY

PAGE_SIZES: Final = (50, 100, 200)
_LONGEST: Final = 400
"""No filter of ours is longer; what is, is cut rather than carried around."""
_MOST_IGNORED: Final = 5
_LONGEST_SHOWN: Final = 60
_JOBS_NAMES: Final = frozenset({"status", "queue", "kind", "q", "limit", "cursor"})

E = TypeVar("E", JobStatus, AuditAction)


@dataclass(frozen=True, slots=True)
class JobsView:
    """What the jobs screen shows."""

    status: tuple[JobStatus, ...] = ()
    queue: str = ""
    kind: str = ""
    q: str = ""
    """A query of the search; all else must hold, too."""
    cursor: str = ""
    limit: int = PAGE_SIZES[0]
    ignored: tuple[tuple[str, str], ...] = ()
    """What the address says besides, names and values: it filters nothing, and the screen tells so."""

    @classmethod
    def read(cls, params: QueryParams) -> Self:
        """From an address; unknown words are left out, as an old bookmark should still open."""
        return cls(
            status=tuple(_known(JobStatus, map(str.upper, params.getlist("status")))),
            queue=_word(params, "queue"),
            kind=_word(params, "kind"),
            q=_query(params),
            cursor=_word(params, "cursor"),
            limit=_limit(params),
            ignored=tuple(_ignored(params)),
        )

    @property
    def filtered(self) -> bool:
        """Whether anything is left out by a filter."""
        return bool(self.status or self.queue or self.kind or self.q)

    def query(self, wanted: JobFilter) -> ListJobs:
        """The question for the jobs service; `wanted` is what the query means."""
        return ListJobs(
            limit=self.limit,
            cursor=self.cursor or None,
            status=list(self.status),
            queue=[self.queue] if self.queue else [],
            kind=self.kind.replace(",", " ").split(),
            filter=wanted,
        )

    def url(self) -> str:
        """The address of this screen."""
        pairs = [("status", status.value) for status in self.status]
        named = (("queue", self.queue), ("kind", self.kind), ("q", self.q))
        pairs += [(name, text) for name, text in named if text]
        return _url("/admin/jobs", [*pairs, *self.ignored], self.limit, self.cursor)

    @property
    def unknown(self) -> list[str]:
        """What of the address filters nothing, for people: names, and values of names that are known."""
        told = (f"{name}={text}" if name in _JOBS_NAMES else name for name, text in self.ignored)
        return list(dict.fromkeys(told))

    def without_query(self) -> str:
        """The address with all else that filters."""
        return replace(self, q="", cursor="", ignored=()).url()

    def with_status(self, status: JobStatus | None) -> str:
        """The address that shows one status alone, or all; choosing the shown one again shows all."""
        chosen = () if status is None or self.status == (status,) else (status,)
        return replace(self, status=chosen, cursor="", ignored=()).url()

    def older(self, cursor: str) -> str:
        """The address of the next page."""
        return replace(self, cursor=cursor).url()

    def newest(self) -> str:
        """The address of the first page."""
        return replace(self, cursor="").url()


@dataclass(frozen=True, slots=True)
class AuditView:
    """What the audit screen shows."""

    action: tuple[AuditAction, ...] = ()
    actor: str = ""
    target: str = ""
    outcome: str = ""
    cursor: str = ""
    limit: int = PAGE_SIZES[0]

    @classmethod
    def read(cls, params: QueryParams) -> Self:
        """From an address; unknown words are left out."""
        outcome = _word(params, "outcome")
        return cls(
            action=tuple(_known(AuditAction, params.getlist("action"))),
            actor=_word(params, "actor"),
            target=_word(params, "target"),
            outcome=outcome if outcome in {"accepted", "refused"} else "",
            cursor=_word(params, "cursor"),
            limit=_limit(params),
        )

    @property
    def filtered(self) -> bool:
        """Whether anything is left out by a filter."""
        return bool(self.action or self.actor or self.target or self.outcome)

    def query(self, actor_id: str | None) -> AuditQuery:
        """The question for the audit service; `actor_id` is the account that the name in the filter belongs to."""
        return AuditQuery(
            limit=self.limit,
            cursor=self.cursor or None,
            action=list(self.action),
            actor=actor_id,
            target=self.target or None,
            outcome="accepted" if self.outcome == "accepted" else "refused" if self.outcome else None,
        )

    def url(self, path: str = "/admin/audit") -> str:
        """The address of this screen, or of a part of it."""
        pairs = [("action", action.value) for action in self.action]
        named = (("actor", self.actor), ("target", self.target), ("outcome", self.outcome))
        return _url(path, pairs + [(name, text) for name, text in named if text], self.limit, self.cursor)

    def older(self, cursor: str) -> str:
        """The address of the next page."""
        return replace(self, cursor=cursor).url()

    def newest(self) -> str:
        """The address of the first page."""
        return replace(self, cursor="").url()


def _url(path: str, pairs: list[tuple[str, str]], limit: int, cursor: str) -> str:
    if limit != PAGE_SIZES[0]:
        pairs.append(("limit", str(limit)))
    if cursor:
        pairs.append(("cursor", cursor))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _word(params: QueryParams, name: str) -> str:
    """A text of the address, without what nobody can type."""
    return "".join(sign for sign in params.get(name, "") if sign.isprintable()).strip()[:_LONGEST]


def _query(params: QueryParams) -> str:
    """The query; of one that is too long so much that it is seen to be."""
    text = "".join(sign if sign.isprintable() else " " for sign in params.get("q", ""))
    return text.strip()[: LONGEST_QUERY + 1]


def _ignored(params: QueryParams) -> list[tuple[str, str]]:
    """Names that this screen does not have, and statuses that nothing has."""
    found = [
        (_shown(name), _shown(text))
        for name, text in params.multi_items()
        if text and (name not in _JOBS_NAMES or (name == "status" and text.upper() not in set(JobStatus)))
    ]
    return list(dict.fromkeys(pair for pair in found if pair[0]))[:_MOST_IGNORED]


def _shown(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable()).strip()[:_LONGEST_SHOWN]


def _limit(params: QueryParams) -> int:
    text = params.get("limit", "")
    return next((size for size in PAGE_SIZES if text == str(size)), PAGE_SIZES[0])


def _known(words: type[E], texts: Iterable[str]) -> Iterable[E]:
    """The members that are named, each once, in the order of their declaration."""
    named = set(texts)
    return (word for word in words if word.value in named)


def local_path(text: str | None, default: str = "/admin") -> str:
    """`text` if it is a path on this server, else `default`: a login must not send people to another site."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")):
        return default
    return default if any(ord(sign) <= ord(" ") or sign == "\\" for sign in text) else text
