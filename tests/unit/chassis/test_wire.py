from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import BadHeaderError, BadSubjectError
from nats.protocol.parser import Parser

from jobplane.chassis.wire import FastParser, Sink, frame, parse_headers

Seen = tuple[Any, ...]


class Heard:
    """Stands where a client would, and remembers."""

    def __init__(self, sinks: dict[int, Sink] | None = None) -> None:
        self.messages: list[Seen] = []
        self.sinks = sinks or {}

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid in self.sinks:  # as our connection does, for what came behind a PING
            self.sinks[sid](subject.decode(), reply.decode(), None, data)
        else:
            self.messages.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.messages.append(("ping",))

    async def _process_pong(self) -> None:
        self.messages.append(("pong",))

    async def _process_err(self, text: str) -> None:
        self.messages.append(("error", text))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.messages.append(("info", info))


words = st.text(st.sampled_from("abc.0"), min_size=1, max_size=8).map(str.encode)
bodies = st.binary(max_size=40) | st.sampled_from([b"MSG a 1 3\r\nabc\r\n", b"\r\n", b"PING\r\n"])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    reply = b"" if draw(st.booleans()) else draw(words) + b" "
    head = draw(words) + b" " + str(draw(st.integers(1, 3))).encode() + b" " + reply
    body = draw(bodies)
    match draw(st.sampled_from(["msg", "hmsg", "ping", "pong", "error", "info"])):
        case "msg":
            return b"MSG %b%d\r\n%b\r\n" % (head, len(body), body)
        case "hmsg":
            headers = b"NATS/1.0\r\nA: %b\r\n\r\n" % draw(words)
            return b"HMSG %b%d %d\r\n%b%b\r\n" % (head, len(headers), len(headers) + len(body), headers, body)
        case "ping":
            return b"PING\r\n"
        case "pong":
            return b"PONG\r\n"
        case "error":
            return b"-ERR 'Permissions Violation'\r\n"
        case _:
            return b'INFO {"a":1}\r\n'


@given(st.lists(frames(), max_size=12), st.lists(st.integers(1, 30), max_size=40))
async def test_however_the_socket_cuts_it_the_library_parser_agrees(sent: list[bytes], cuts: list[int]) -> None:
    text = b"".join(sent)
    chunks = []
    for cut in cuts:
        chunks.append(text[:cut])
        text = text[cut:]
    chunks.append(text)
    ours, theirs = Heard(), Heard()
    fast, reference = FastParser(ours, {}), Parser(theirs)  # type: ignore[arg-type]
    for chunk in chunks:
        await fast.parse(chunk)
        await reference.parse(chunk)
    assert ours.messages == theirs.messages
    assert len(ours.messages) == len(sent)


@given(st.lists(frames(), max_size=12))
async def test_a_sink_gets_what_is_for_it_and_nothing_else(sent: list[bytes]) -> None:
    taken: list[tuple[bytes, bytes]] = []
    sinks: dict[int, Sink] = {1: lambda _subject, reply, _headers, body: taken.append((reply.encode(), body))}
    heard, reference = Heard(sinks), Heard()
    await Parser(reference).parse(b"".join(sent))
    await FastParser(heard, sinks).parse(b"".join(sent))  # type: ignore[arg-type]
    assert taken == [(seen[2], seen[3]) for seen in reference.messages if seen[0] == 1]
    assert heard.messages == [seen for seen in reference.messages if seen[0] != 1]


def test_headers_are_read_as_the_library_reads_them() -> None:
    raw = "NATS/1.0\r\nce-type: job.created.v1\r\nce-reason: naïve: yes\r\nEmpty:\r\n\r\n".encode()
    expected = {"ce-type": "job.created.v1", "ce-reason": "naïve: yes", "Empty": ""}
    assert parse_headers(raw) == expected == Client._parse_header_lines(raw[10:])


def test_an_inline_status_is_read() -> None:
    raw = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    expected = {"Status": "408", "Description": "Request Timeout", "Nats-Pending-Messages": "3"}
    assert parse_headers(raw) == expected
    assert parse_headers(b"NATS/1.0 503\r\n\r\n") == {"Status": "503", "Description": ""}


@pytest.mark.parametrize("reply", ["", "_INBOX.1"])
@pytest.mark.parametrize("headers", [None, {}, {"ce-type": "job.created.v1", "ce-reason": "naïve: yes"}])
async def test_what_is_written_is_read_as_it_was_meant(reply: str, headers: dict[str, str] | None) -> None:
    heard: Any = Heard()
    await Parser(heard).parse(_as_the_server_sends(frame("a.b", reply, headers, b"body")))
    [(_, subject, told_reply, data, raw)] = heard.messages
    assert (subject, told_reply, data) == (b"a.b", reply.encode(), b"body")
    assert (parse_headers(raw) if raw else None) == headers


def _as_the_server_sends(written: bytes) -> bytes:
    """PUB becomes MSG, with the number of the subscription behind the subject."""
    verb, subject, rest = written.split(b" ", 2)
    return verb.replace(b"PUB", b"MSG") + b" " + subject + b" 1 " + rest


@pytest.mark.parametrize(("subject", "reply"), [("", ""), ("a b", ""), ("a\r\nPUB b 0", ""), ("a", "b\tc")])
def test_a_subject_that_would_be_read_as_something_else_is_refused(subject: str, reply: str) -> None:
    with pytest.raises(BadSubjectError):
        frame(subject, reply, None, b"")


@pytest.mark.parametrize("header", [("a\nb", "c"), ("a", "b\r\nc: d"), ("a", "b\rc")])
def test_a_header_of_several_lines_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(BadHeaderError):
        frame("a", "", {"x": "y", **dict([header])}, b"")
