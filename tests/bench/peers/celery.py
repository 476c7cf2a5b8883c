"""celery with the broker that CELERY_BROKER_URL names; what is done is counted by the worker, as no result is kept."""

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import celery

from tests.bench.peers.driving import Where, started

_TUNED: Final = ("--pool=threads", "--concurrency=8", "--prefetch-multiplier=64")
_DONE: Final = "PEER_DONE_FILE"


class Peer:
    """See `driving.Peer`."""

    def __init__(self) -> None:
        self._app = celery.Celery(broker=os.environ["CELERY_BROKER_URL"])
        self._app.conf.task_ignore_result = True
        self._noop: Any = self._app.task(name="noop")(_noop)
        self._started: Any = self._app.task(name="started")(_tell)
        self._enqueued = 0

    async def open(self, _where: Where) -> None:
        """The worker writes a byte per finished job into a file that both know."""
        os.environ.setdefault(_DONE, tempfile.mkstemp()[1])

    async def close(self) -> None:
        """Disconnect."""
        self._app.close()
        _file().unlink()

    async def enqueue(self, count: int) -> None:
        """It has no batches: one after the other, through one connection."""
        with self._app.producer_or_acquire() as producer:
            for _ in range(count):
                self._noop.apply_async(producer=producer)
        self._enqueued += count

    async def enqueue_one(self) -> None:
        """One."""
        self._started.delay()
        self._enqueued += 1

    async def unfinished(self) -> int:
        """Enqueued and not counted yet."""
        return self._enqueued - _file().stat().st_size

    async def bulk(self, _count: int) -> dict[str, float]:
        """It has none."""
        return {}

    async def work(self, *, tuned: bool) -> None:
        """By default it forks as many processes as there are processors."""
        self._app.worker_main(["worker", "--loglevel=error", *(_TUNED if tuned else ())])


def _file() -> Path:
    return Path(os.environ[_DONE])


def _count() -> None:
    with _file().open("ab", buffering=0) as done:
        done.write(b".")


def _noop() -> None:
    _count()


def _tell() -> None:
    started()
    _count()
