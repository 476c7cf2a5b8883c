"""A TCP proxy that breaks connections on purpose: slow, throttled, half open, cut, refused, or held at a word.

It stands between the services and PostgreSQL or NATS, and knows who speaks: both protocols name their user at the
beginning. Runs in a thread of its own.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

_CHUNK: Final = 64 * 1024
_USER: Final = re.compile(rb'(?:user\x00|"user": ?")([A-Za-z0-9_-]+)')
_ANSWERS_S: Final = 10.0


@dataclass(slots=True)
class Weather:
    """How the connections of some users are treated; an empty `users` means everybody."""

    users: frozenset[str] = frozenset()
    refuse: bool = False
    """Accept no new connection (it is closed at once)."""
    latency_s: float = 0.0
    """Each way."""
    bytes_per_s: float | None = None
    swallow_up: bool = False
    """What clients send is never delivered."""
    swallow_down: bool = False
    """What the server answers is never delivered."""
    hold_at: bytes | None = None
    """When a client sends this word, everything of that connection stops; `held` is set."""
    swallow_after: bytes | None = None
    """When a client has sent this word, its answers are swallowed; `held` is set."""
    held: threading.Event = field(default_factory=threading.Event)

    def applies(self, user: str) -> bool:
        """Whether it rains on this user."""
        return not self.users or user in self.users


FINE: Final = Weather()


class _Pipe:
    """One connection of a client."""

    def __init__(self, proxy: "Proxy", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client = (reader, writer)
        self.user = ""
        self.frozen = False
        self.deaf = False
        self.server_writer: asyncio.StreamWriter | None = None

    @property
    def weather(self) -> Weather:
        return self.proxy.weather if self.proxy.weather.applies(self.user) else FINE

    async def run(self) -> None:
        try:
            server_reader, self.server_writer = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        except OSError:
            self.abort()
            return
        up = asyncio.create_task(self._pump(self.client[0], self.server_writer, up=True))
        down = asyncio.create_task(self._pump(server_reader, self.client[1], up=False))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        self.abort()

    def abort(self) -> None:
        for writer in (self.client[1], self.server_writer):
            if writer is not None:
                writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if up:
                    self._identify(data)
                weather = self.weather
                if weather.refuse and weather.applies(self.user):
                    return
                await self._delay(weather, len(data))
                if await self._lost(weather, data, up=up):
                    continue
                writer.write(data)
                await writer.drain()

    def _identify(self, data: bytes) -> None:
        if not self.user and (found := _USER.search(data)):
            self.user = found[1].decode()

    async def _delay(self, weather: Weather, size: int) -> None:
        pause = weather.latency_s + (size / weather.bytes_per_s if weather.bytes_per_s else 0.0)
        if pause:
            await asyncio.sleep(pause)

    async def _lost(self, weather: Weather, data: bytes, *, up: bool) -> bool:
        """Whether these bytes never arrive."""
        if up and weather.hold_at is not None and weather.hold_at in data:
            weather.held.set()
            self.frozen = True
        if self.frozen and up:
            return True
        if up and weather.swallow_after is not None and weather.swallow_after in data:
            self.deaf = True
        if self.deaf and not up:
            weather.held.set()
            return True
        return weather.swallow_up if up else weather.swallow_down


class Proxy:
    """Listens on a port of its own and forwards to `target`, as the `weather` allows."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.weather = FINE
        self.port = 0
        self._pipes: set[_Pipe] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}", daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def set(self, weather: Weather) -> Weather:
        """Change the weather; connections that a refusal or a half-open state hits are felt at their next byte."""
        self.weather = weather
        return weather

    def clear(self) -> None:
        """Fine weather; connections that lost bytes cannot go on and are cut."""
        was, self.weather = self.weather, FINE
        if was.swallow_up or was.swallow_down or was.hold_at or was.swallow_after:
            self.cut(was)

    def cut(self, of: Weather = FINE) -> int:
        """End all connections (of the users a weather names) at once; gives how many."""
        hit: int = self._call(self._cut(of))
        return hit

    async def _cut(self, of: Weather) -> int:
        hit = [pipe for pipe in self._pipes if of.applies(pipe.user)]
        for pipe in hit:
            pipe.abort()
        return len(hit)

    def strand(self, of: Weather = FINE) -> int:
        """Leave existing connections open and deliver nothing on them any more; new ones are fine. Gives how many."""
        hit = [pipe for pipe in tuple(self._pipes) if of.applies(pipe.user)]
        for pipe in hit:
            pipe.frozen = pipe.deaf = True
        return len(hit)

    def close(self) -> None:
        """End everything."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWERS_S)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        await self._cut(FINE)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = _Pipe(self, reader, writer)
        if self.weather.refuse and not self.weather.users:
            pipe.abort()
            return
        self._pipes.add(pipe)
        try:
            await pipe.run()
        finally:
            self._pipes.discard(pipe)

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_ANSWERS_S)
