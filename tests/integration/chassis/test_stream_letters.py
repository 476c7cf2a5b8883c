"""Single messages of a stream: pages from its end are what a list of everything would show."""

import random
from collections.abc import AsyncIterator

import pytest

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.chassis.stream_letters import Page, StreamLetters
from jobplane.contracts.topology import DLQ
from tests.support.events import ensure_streams
from tests.support.servers import Bus


@pytest.fixture
async def writer(bus: Bus) -> AsyncIterator[Connection]:
    await ensure_streams(bus)
    async with bus.connected("test") as connection:
        yield connection


@pytest.fixture
async def letters(bus: Bus, writer: Connection) -> AsyncIterator[StreamLetters]:
    assert writer.is_connected
    nc = await buses.connect(bus.url("topology"), user="topology", name="letters")
    yield StreamLetters(nc, DLQ)
    await buses.close(nc)


async def write(writer: Connection, subject: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
    answer = await writer.request(subject, body, timeout=10, headers=headers)
    assert b'"seq"' in answer.data, answer.data


async def everything(letters: StreamLetters, subject: str, limit: int) -> list[list[int]]:
    """The sequences on all pages."""
    pages: list[list[int]] = []
    below: int | None = None
    while True:
        page: Page = await letters.page(subject, below, limit)
        pages.append([letter.sequence for letter in page.letters])
        below = page.below
        if below is None:
            return pages


@pytest.mark.parametrize("seed", range(3))
async def test_pages_show_each_message_once_newest_first(writer: Connection, letters: StreamLetters, seed: int) -> None:
    chance = random.Random(seed)
    subjects = ("dlq.jobs.command", "dlq.audit.EVT_JOBS", "dlq.health.EVT_JOBS")
    weights = [(1, 1, 1), (100, 1, 1), (50, 3, 0)][seed]
    there: dict[int, str] = {}
    # Bursts: whoever guesses where to begin by how dense the end is, is wrong.
    for _ in range(12):
        [subject] = chance.choices(subjects, weights)
        for _ in range(chance.randint(1, 25)):
            await write(writer, subject)
            there[len(there) + 1] = subject
    for sequence in chance.sample(sorted(there), len(there) // 4):
        assert await letters.delete(sequence)
        del there[sequence]
    for pattern in ("dlq.*.*", "dlq.jobs.*", "dlq.*.EVT_JOBS", "dlq.health.EVT_JOBS", "dlq.nobody.*"):
        words = pattern.split(".")
        wanted = [
            sequence
            for sequence, subject in sorted(there.items(), reverse=True)
            if all(word in {"*", part} for word, part in zip(words, subject.split("."), strict=True))
        ]
        for limit in (1, 7, 200):
            pages = await everything(letters, pattern, limit)
            assert [sequence for page in pages for sequence in page] == wanted, (pattern, limit)
            assert all(len(page) == limit for page in pages[:-1]), (pattern, limit)


async def test_an_empty_stream_has_an_empty_page(letters: StreamLetters) -> None:
    assert await letters.page("dlq.*.*", None, 5) == Page([], None)
    assert await letters.page("dlq.*.*", 2**63 - 1, 5) == Page([], None)


async def test_a_page_tells_size_time_and_headers_but_not_the_body(writer: Connection, letters: StreamLetters) -> None:
    await write(writer, "dlq.jobs.command", b"secret", {"Why": "because: of"})
    [listed] = (await letters.page("dlq.*.*", None, 5)).letters
    whole = await letters.one(1)
    assert whole is not None
    assert (listed.body, whole.body) == (b"", b"secret")
    assert listed.size_bytes == whole.size_bytes == 6
    assert listed.headers["Why"] == whole.headers["Why"] == "because: of"
    assert abs((listed.at - whole.at).total_seconds()) < 0.001


async def test_a_large_message_comes_whole(writer: Connection, letters: StreamLetters) -> None:
    await write(writer, "dlq.jobs.command", b"x" * 768 * 1024)
    found = await letters.one(1)
    assert found is not None
    assert found.body == b"x" * 768 * 1024


async def test_what_was_deleted_is_gone_and_the_others_are_not(writer: Connection, letters: StreamLetters) -> None:
    for _ in range(3):
        await write(writer, "dlq.jobs.command")
    assert await letters.delete(2) is True
    assert await letters.delete(2) is False
    assert await letters.delete(99) is False
    assert await letters.one(2) is None
    assert await letters.one(99) is None
    assert [letter.sequence for letter in (await letters.page("dlq.*.*", None, 5)).letters] == [3, 1]
