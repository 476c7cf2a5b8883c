import asyncio
from collections.abc import AsyncIterator

import pytest

from jobplane.chassis.probe import Probe


class Verdict:
    def __init__(self) -> None:
        self.value: bool | str = True
        self.error: Exception | None = None

    async def __call__(self) -> bool | str:
        if self.error is not None:
            raise self.error
        return self.value


@pytest.fixture
async def verdict() -> Verdict:
    return Verdict()


@pytest.fixture
async def port(verdict: Verdict) -> AsyncIterator[int]:
    probe = Probe(0, verdict)
    yield await probe.start()
    await probe.stop()


async def ask(port: int, request: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_living_process_says_so(port: int) -> None:
    assert await ask(port, get("/healthz")) == (200, "ok\n")


async def test_readiness_follows_the_verdict(port: int, verdict: Verdict) -> None:
    assert await ask(port, get("/readyz")) == (200, "ready\n")
    verdict.value = "the database is away"
    assert await ask(port, get("/readyz?x=1")) == (503, "the database is away\n")
    verdict.value = False
    assert await ask(port, get("/readyz")) == (503, "not ready\n")
    verdict.error = KeyError("secret")
    assert await ask(port, get("/readyz")) == (503, "not ready: KeyError\n")


async def test_metrics_are_told(port: int) -> None:
    status, text = await ask(port, get("/metrics"))
    assert status == 200
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("request_text", "status"),
    [(get("/other"), 404), ("POST /healthz HTTP/1.1\r\n\r\n", 405), ("HEAD /healthz HTTP/1.1\r\n\r\n", 200)],
)
async def test_nothing_else_is_served(port: int, request_text: str, status: int) -> None:
    assert (await ask(port, request_text))[0] == status


async def test_garbage_ends_the_connection_only(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 20_000)
    with_nothing = await reader.read()
    writer.close()
    assert with_nothing == b""
    assert await ask(port, get("/healthz")) == (200, "ok\n")


async def test_a_taken_port_is_an_error(port: int, verdict: Verdict) -> None:
    with pytest.raises(OSError, match="in use"):
        await Probe(port, verdict).start()
