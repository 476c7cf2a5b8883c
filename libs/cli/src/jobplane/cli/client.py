"""The REST API for commands: bearer token, problems as sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from jobplane.cli import refusals
from jobplane.cli.failures import Exit, Failed
from jobplane.local.files import write_private

if TYPE_CHECKING:
    from types import TracebackType

    from jobplane.cli.target import Target

_UNAUTHORIZED = 401
_NOT_FOUND = 404
_FIRST_ERROR = 400
_ANSWER_S = 30.0
_SILENT_S = 40.0


def part(text: str) -> str:
    """An id or a name that was typed, as one part of a path."""
    return quote(text, safe="")


class Client:
    """One connection to one gateway. Use it as a context manager."""

    def __init__(self, target: Target) -> None:
        import httpx2  # noqa: PLC0415 - 0.15 s that `up` and --help need not pay

        self._target = target
        # A proxy for the internet must not come between us and this machine.
        elsewhere = target.token_file is None
        self._http = httpx2.Client(
            base_url=f"{target.connection.url}/api/admin", timeout=_ANSWER_S, trust_env=elsewhere
        )
        self._away: type[Exception] = httpx2.TransportError
        self._token = _kept_token(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **parameters: object) -> Any:  # noqa: ANN401 - whatever JSON the API answers
        """The answer's JSON; parameters that are None are left out."""
        query = {name: value for name, value in parameters.items() if value is not None}
        return self._answer("GET", path, params=query)

    def pages(self, path: str, *, cursor: str | None = None, **parameters: object) -> Iterator[list[Any]]:
        """The items of each page of a list, from this one on; `limit` says how many a page may have."""
        while True:
            page = self.get(path, **parameters, cursor=cursor)
            yield page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def post(self, path: str, body: object = None, **more: object) -> Any:  # noqa: ANN401 - see `get`
        """The answer's JSON."""
        return self._answer("POST", path, json=body, **more) if body is not None else self._answer("POST", path, **more)

    def put(self, path: str, body: object) -> Any:  # noqa: ANN401 - see `get`
        """The answer's JSON."""
        return self._answer("PUT", path, json=body)

    def patch(self, path: str, body: object, **more: object) -> Any:  # noqa: ANN401 - see `get`
        """The answer's JSON."""
        return self._answer("PATCH", path, json=body, **more)

    @contextmanager
    def lines(self, path: str, **parameters: str | None) -> Iterator[Iterator[str]]:
        """The lines of an answer that goes on, as they come; the server says something at least every 15 seconds."""
        self.get("/stats")  # renews a token that is over
        query = {name: value for name, value in parameters.items() if value is not None}
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            with self._http.stream("GET", path, params=query, headers=headers, timeout=_SILENT_S) as answer:
                if answer.status_code >= _FIRST_ERROR:
                    answer.read()
                    raise Failed(refusals.sentence(answer))
                yield answer.iter_lines()
        except self._away as error:
            message = f"The connection to {self._target.connection.url} broke ({error})."
            raise Failed(message, Exit.UNREACHABLE) from error

    def knows_us(self) -> bool:
        """False only if the platform says that there is no such account with this password."""
        connection = self._target.connection
        answer = self._send("POST", "/token", json={"username": connection.username, "password": connection.password})
        return bool(answer.status_code != _UNAUTHORIZED)

    def log_in(self) -> str:
        """A fresh bearer token. Raises Failed if the account is not let in."""
        connection = self._target.connection
        answer = self._send("POST", "/token", json={"username": connection.username, "password": connection.password})
        if answer.status_code >= _FIRST_ERROR:
            message = f"{connection.url} does not let {connection.username} in: {refusals.sentence(answer)}"
            raise Failed(message, Exit.UNREACHABLE)
        granted = answer.json()
        if self._target.token_file is not None:
            write_private(self._target.token_file, json.dumps(granted | {"url": connection.url}))
        return str(granted["token"])

    def _answer(self, method: str, path: str, **more: object) -> Any:  # noqa: ANN401 - see `get`
        if self._token is None:
            self._token = self.log_in()
        answer = self._authorized(method, path, **more)
        if answer.status_code == _UNAUTHORIZED:  # the kept token is over: one fresh try
            self._token = self.log_in()
            answer = self._authorized(method, path, **more)
        if answer.status_code >= _FIRST_ERROR:
            raise Failed(
                refusals.sentence(answer), Exit.NOT_FOUND if answer.status_code == _NOT_FOUND else Exit.REFUSED
            )
        return answer.json() if answer.content else None

    def _authorized(self, method: str, path: str, **more: object) -> Any:  # noqa: ANN401 - an httpx2.Response
        headers = {"Authorization": f"Bearer {self._token}"}
        extra = more.pop("headers", None)
        if isinstance(extra, dict):
            headers |= extra
        return self._send(method, path, headers=headers, **more)

    def _send(self, method: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - see `_authorized`
        try:
            return self._http.request(method, path, **more)
        except self._away as error:
            url = self._target.connection.url
            message = f"Nobody answers at {url} ({error}): is `jobplane up` running?"
            raise Failed(message, Exit.UNREACHABLE) from error


def _kept_token(target: Target) -> str | None:
    """The token of an earlier command, if it is for this platform and still good for a minute."""
    if target.token_file is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(target.token_file.read_text())
        good_until = datetime.fromisoformat(kept["expires_at"]) - timedelta(minutes=1)
        if kept["url"] == target.connection.url and good_until > datetime.now(UTC):
            return str(kept["token"])
    return None
