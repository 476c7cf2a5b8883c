"""Questions and answers over the bus: one inbox for all, and who waits is told when the connection was lost."""

import asyncio
import itertools
from typing import Final

import structlog
from nats.errors import Error as NatsError

from jobplane.chassis.bus import Connection

_NO_RESPONDERS: Final = "503"
log = structlog.get_logger(__name__)


class NoAnswer(Exception):
    """No answer came; it is not known whether the question arrived."""


class Interrupted(NoAnswer):
    """The connection was lost meanwhile and is back: ask again at once."""


class Link:
    """Requests with a time limit. nats-py's own would wait for the whole limit after a lost connection."""

    def __init__(self, nc: Connection) -> None:
        self._nc = nc
        self._inbox = nc.new_inbox()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._back = asyncio.Event()

    async def open(self) -> None:
        """Listen for answers."""
        await self._nc.subscribe_sink(f"{self._inbox}.*", self._on_answer)
        self._nc.add_reconnect_listener(self._reconnected)

    async def ask(self, subject: str, question: bytes, timeout_s: float) -> bytes:
        """The answer's bytes; while the connection is away the question waits.

        Raises:
            NoAnswer: none came in time, nobody listens, or the connection was lost.
        """
        number = str(next(self._numbers))
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(timeout_s):
                while not self._nc.is_connected:
                    self._back.clear()
                    await self._back.wait()
                await self._nc.publish(subject, question, reply=f"{self._inbox}.{number}")
                return await future
        except TimeoutError:
            raise NoAnswer(f"no answer on {subject} within {timeout_s:g} s") from None
        except NatsError as error:
            raise NoAnswer(f"{subject}: {error}") from error
        finally:
            del self._waiting[number]
            future.cancel()

    async def _reconnected(self) -> None:
        self._back.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Interrupted("the connection was lost"))

    def _on_answer(self, subject: str, _reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        future = self._waiting.get(subject.rpartition(".")[2])
        if future is None or future.done():
            log.debug("worker.late_answer", subject=subject)
        elif not body and (headers or {}).get("Status") == _NO_RESPONDERS:
            future.set_exception(NoAnswer("nobody listens there now"))
        else:
            future.set_result(body)
