"""What is written within one turn of the loop leaves together, in order, and nothing is lost at the end."""

import asyncio
from typing import cast

from jobplane.gateway import gathered_writes
from jobplane.gateway.gathered_writes import GatheredWrites


class _Recorded:
    """A transport that notes what it gets."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _pair() -> tuple[_Recorded, GatheredWrites]:
    recorded = _Recorded()
    return recorded, GatheredWrites(cast("asyncio.Transport", recorded))


async def _turn() -> None:
    """Let the loop turn once."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await turned.wait()


async def test_head_and_body_leave_together() -> None:
    recorded, transport = _pair()
    transport.write(b"head")
    transport.write(b"body")
    assert recorded.written == []
    await _turn()
    assert recorded.written == [b"headbody"]
    transport.write(b"next")
    await _turn()
    assert recorded.written == [b"headbody", b"next"]


async def test_closing_sends_what_is_left_first() -> None:
    recorded, transport = _pair()
    transport.write(b"last")
    transport.close()
    assert (recorded.written, recorded.closed) == ([b"last"], True)
    await _turn()
    assert recorded.written == [b"last"]


async def test_a_connection_that_is_lost_meanwhile_gets_nothing() -> None:
    recorded, transport = _pair()
    transport.write(b"too late")
    recorded.close()
    await _turn()
    assert recorded.written == []


async def test_much_is_not_kept_back() -> None:
    recorded, transport = _pair()
    much = b"x" * (gathered_writes._MOST_GATHERED + 1)
    transport.write(b"a")
    transport.write(much)
    assert recorded.written == [b"a" + much]
    await _turn()
    assert len(recorded.written) == 1
    assert transport.is_closing() is False
