"""A gateway that answers what a test tells it, over HTTP, and keeps what it was asked."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jobplane.local import connections
from jobplane.local.connections import CommandLine

_PREFIX = "/api/admin"
_TOKEN = {"token": "t", "expires_at": "2999-01-01T00:00:00+00:00"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    what: str
    """``POST /jobs/bulk``."""
    query: dict[str, str]
    body: Any


@dataclass(slots=True)
class Gateway:
    """What it answers, by ``METHOD /path``: one after the other, the last one again and again; bytes as they are."""

    data: Path
    answers: dict[str, list[tuple[int, object]]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)

    def will(self, what: str, *answers: object, status: int = 200) -> None:
        """Answer so from now on."""
        self.answers[what] += [(status, answer) for answer in answers]

    def bodies(self, what: str) -> list[Any]:
        """What was sent there."""
        return [asked.body for asked in self.asked if asked.what == what]

    def answer(self, what: str) -> tuple[int, object]:
        """The next one."""
        if what == "POST /token":
            return 200, _TOKEN
        known = self.answers[what]
        if not known:
            return 404, {"detail": f"nothing is there: {what}"}
        return known.pop(0) if len(known) > 1 else known[0]


@contextmanager
def gateway(data: Path) -> Iterator[Gateway]:
    """One that listens, named in this data directory."""
    scripted = Gateway(data)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            address = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            what = f"{self.command} {address.path.removeprefix(_PREFIX)}"
            scripted.asked.append(Asked(what, dict(parse_qsl(address.query)), json.loads(sent) if sent else None))
            status, answer = scripted.answer(what)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the test says what it misses."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    connections.write(data / "connection.json", CommandLine(url=address, username="local", password="x"))
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
