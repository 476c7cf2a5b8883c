"""Command intake: pulls a durable consumer by hand.

Works in micro-batches, dead-letters poison, and rests while the database is away.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from nats.errors import Error as NatsError

from jobplane.chassis import burial, database, metrics
from jobplane.chassis.bus import Connection
from jobplane.chassis.pace import Pace
from jobplane.contracts.errors import InvalidMessage, Unavailable
from jobplane.contracts.topology import ConsumerSpec

log = structlog.get_logger()

MAX_BATCH: Final = 512
FAILURES_ALONE: Final = 5
"""A message that fails so often on its own is poison."""
_PULL_EXPIRES_S: Final = 30
_BUFFER: Final = 4 * MAX_BATCH
_REST_S: Final = 0.5
_ORDINARY_ENDS: Final = frozenset({"404", "408", "409"})
"""A pull ended because nothing was there, its time was over, or its server said good-bye."""


@dataclass(slots=True)
class Delivery:
    """One message of the consumer, as `handle` gets it."""

    subject: str
    headers: dict[str, str]
    data: bytes
    ack: str
    failures: int = 0


Handle = Callable[[Sequence[Delivery]], Awaitable[Sequence[InvalidMessage | None]]]
"""Works on 1 to 512 deliveries.

After it returns, all are acknowledged, those with an `InvalidMessage` after going to the DLQ.
"""


async def _leave_it() -> None:
    """Wait until somebody else repairs it."""


class Intake:
    """Takes the messages of one durable consumer.

    Each is acknowledged only after `handle` has committed what it means. `repair` makes stream and consumer anew, if
    the bus has lost them.
    """

    def __init__(
        self,
        nc: Connection,
        consumer: ConsumerSpec,
        handle: Handle,
        *,
        dead_letters: str,
        repair: Callable[[], Awaitable[None]] = _leave_it,
    ) -> None:
        self._nc = nc
        self._consumer = consumer
        self._handle = handle
        self._dead_letters = dead_letters
        self._repair = repair
        self._buffer: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._pace = Pace()
        self._outstanding = 0
        self._paused = False
        self._refused = ""
        self.in_flight = 0
        self.acknowledged = 0
        """Messages since the start."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what was pulled but not worked on is delivered again to somebody else."""
        inbox = self._nc.new_inbox()
        unsubscribe = await self._nc.subscribe_sink(inbox, self._receive)
        try:
            while not stop.is_set():
                await self._pull(inbox)
                try:
                    async with asyncio.timeout(_PULL_EXPIRES_S if self._outstanding else _REST_S):
                        await self._arrived.wait()
                except TimeoutError:
                    self._outstanding = 0
                    continue
                self._arrived.clear()
                if self._refused:
                    await self._recover()
                while self._buffer and not stop.is_set():
                    await self._pace.begin()
                    await self._work(stop)
                    await self._pull(inbox)
        finally:
            if not self._nc.is_closed:
                await unsubscribe()

    async def _recover(self) -> None:
        """The server refuses pulls (no such stream or consumer): have it repaired, and do not ask without a pause."""
        log.warning("intake.refused", consumer=self._consumer.name, detail=self._refused)
        self._refused = ""
        try:
            await self._repair()
        except (Unavailable, NatsError, OSError, TimeoutError) as error:
            log.warning("intake.not_repaired", error=type(error).__name__)
        await asyncio.sleep(_REST_S)

    def wake(self) -> None:
        """Look again at once: after a reconnect, what was asked before it is lost."""
        self._outstanding = 0
        self._arrived.set()

    async def _pull(self, inbox: str) -> None:
        room = _BUFFER - len(self._buffer) - self._outstanding
        if self._paused or room < MAX_BATCH or not self._nc.is_connected:
            return
        self._outstanding += MAX_BATCH
        request = {"batch": MAX_BATCH, "expires": _PULL_EXPIRES_S * 1_000_000_000}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer.stream}.{self._consumer.name}"
        try:
            await self._nc.publish(subject, json.dumps(request).encode(), reply=inbox)
        except (NatsError, OSError):
            self._outstanding = 0  # the bus is away: `wake` asks again after the reconnect

    def _receive(self, subject: str, reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        headers = headers or {}
        if not reply:
            # The end of a pull: expired, or cut short; what it still had to bring will not come.
            if headers.get("Status") not in _ORDINARY_ENDS:
                self._refused = f"{headers.get('Status')} {headers.get('Description', '')}"
            pending = headers.get("Nats-Pending-Messages")
            self._outstanding = max(0, self._outstanding - int(pending or MAX_BATCH))
            self._arrived.set()
            return
        self._outstanding = max(0, self._outstanding - 1)
        self._buffer.append(Delivery(subject, headers, body, reply))
        self._arrived.set()

    async def _work(self, stop: asyncio.Event) -> None:
        batch = [self._buffer.popleft() for _ in range(min(MAX_BATCH, len(self._buffer)))]
        self.in_flight = len(batch)
        try:
            await self._handle_patiently(batch, stop)
        except Exception:
            log.exception("intake.batch_failed", messages=len(batch))
            for delivery in batch:
                await self._alone(delivery, stop)
        finally:
            self.in_flight = 0

    async def _alone(self, delivery: Delivery, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._handle_patiently([delivery], stop)
            except Exception as error:
                delivery.failures += 1
                await asyncio.sleep(_REST_S * 2 ** (delivery.failures - FAILURES_ALONE))
                log.exception("intake.message_failed", subject=delivery.subject, failures=delivery.failures)
                if delivery.failures >= FAILURES_ALONE:
                    await self._settle(
                        [delivery], [InvalidMessage(f"failed {FAILURES_ALONE} times alone: {type(error).__name__}")]
                    )
                    return
            else:
                return

    async def _handle_patiently(self, batch: Sequence[Delivery], stop: asyncio.Event) -> None:
        """Handle a batch; while the database is away, hold it (telling the server so) and pull nothing."""
        while not stop.is_set():
            try:
                with metrics.batch(f"intake {self._consumer.name}", len(batch)):
                    verdicts = await self._handle(batch)
            except Exception as error:
                if not (database.temporary(error) or isinstance(error, Unavailable)):
                    raise
                if not self._paused:
                    log.warning("intake.paused", reason=type(error).__name__)
                self._paused = True
                await self._acknowledge(batch, b"+WPI")
                await asyncio.sleep(_REST_S)
                continue
            if self._paused:
                log.info("intake.resumed")
            self._paused = False
            await self._settle(batch, verdicts)
            return

    async def _settle(self, batch: Sequence[Delivery], verdicts: Sequence[InvalidMessage | None]) -> None:
        pairs = list(zip(batch, verdicts, strict=True))
        settled = [delivery for delivery, poison in pairs if poison is None or await self._bury(delivery, poison)]
        await self._acknowledge(settled, b"+ACK")
        self.acknowledged += len(settled)

    async def _acknowledge(self, deliveries: Sequence[Delivery], word: bytes) -> None:
        """Tell the server. If the bus is away the messages come again, and find their stored outcomes."""
        try:
            await self._nc.publish_all([(delivery.ack, None, word) for delivery in deliveries])
        except (NatsError, OSError) as error:
            log.info("intake.not_acknowledged", error=type(error).__name__)

    async def _bury(self, delivery: Delivery, reason: InvalidMessage) -> bool:
        """Put it into the DLQ; False if that failed, then it stays unacknowledged and comes again."""
        headers, body = burial.letter(
            delivery.subject, delivery.headers, delivery.data, str(reason), self._nc.max_payload
        )
        try:
            answer = await self._nc.request(self._dead_letters, body, headers=headers, timeout=5)
        except (NatsError, TimeoutError) as error:
            log.warning("intake.dead_letter_failed", subject=delivery.subject, error=type(error).__name__)
            return False
        if b'"error"' in answer.data:
            log.warning(
                "intake.dead_letter_failed", subject=delivery.subject, answer=answer.data.decode(errors="replace")
            )
            return False
        metrics.counter("jobplane_dead_letters_total").labels(self._dead_letters.split(".")[1]).inc()
        log.warning("intake.dead_letter", subject=delivery.subject, reason=str(reason))
        return True
