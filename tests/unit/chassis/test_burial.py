"""Any message has a dead letter that can be sent."""

from hypothesis import given
from hypothesis import strategies as some

from jobplane.chassis.burial import letter
from jobplane.chassis.wire import frame, parse_headers

HEADERS = some.dictionaries(some.text(max_size=30), some.text(max_size=2000), max_size=5)


@given(HEADERS, some.binary(max_size=4000), some.text(max_size=3000), some.integers(1300, 9000))
def test_a_letter_can_be_sent_and_read(headers: dict[str, str], body: bytes, reason: str, most: int) -> None:
    told, kept = letter("jobs.cmd.gateway.create", headers, body, reason, most)
    sent = frame("dlq.jobs.command", "", told, kept)
    line, _, rest = sent.partition(b"\r\n")
    head_size, size = map(int, line.split()[-2:])
    assert size <= most
    assert parse_headers(rest[:head_size]) == told
    assert body.startswith(kept)
    assert told["Jobplane-Dead-Subject"] == "jobs.cmd.gateway.create"
    assert told.get("Jobplane-Dead-Size") == (str(len(body)) if len(kept) < len(body) else None)


def test_nobody_says_what_only_we_say() -> None:
    spoofed = {"jobplane-dead-subject": "x", "Jobplane-Dead-Size": "1", "Nats-Expected-Last-Sequence": "7", "X": "y"}
    told, _ = letter("jobs.cmd.gateway.create", spoofed, b"", "why", 2000)
    assert told == {
        "X": "y",
        "Jobplane-Dead-Reason": "why",
        "Jobplane-Dead-Subject": "jobs.cmd.gateway.create",
    }
