"""The frame of every process: event loop, logs, traces, signals, a bounded end, one plain line for a failed start."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import structlog
import uvloop

from jobplane.chassis import logs, tracing
from jobplane.contracts.errors import JobplaneError

log = structlog.get_logger()

_MAIN_S = 3.0
"""`main` may take so long after a signal, then it is cancelled."""
_GRACE_S = 0.8
"""After so much more nothing may keep the process: no blocked loop, no thread that still works."""
_FAILED = 1
_COLLECT_AFTER = (50_000, 20, 100)
"""Objects made since the last collection of the young; collections of one generation before one of the next."""

Main = Callable[[asyncio.Event], Awaitable[None]]


def run(main: Main, service: str, instance: str, log_level: str = "info", *, main_s: float = _MAIN_S) -> None:
    """Run `main(stop)` until it returns; SIGTERM and SIGINT set `stop`, and `main` has `main_s` to return.

    The process ends within 0.8 seconds more: by default within 4 seconds of the signal.
    Exits with status 1 after one plain line on stderr when `main` raises a JobplaneError, and after a logged stack
    when it raises anything else.
    """
    logs.configure(service, instance, log_level)
    tracing.configure(service, instance)
    outcome = _Outcome(main_s)
    _collect_seldom()
    try:
        uvloop.run(_until_stopped(main, outcome))
    except JobplaneError as error:
        outcome.failed = True
        log.error("process.failed", error=type(error).__name__, detail=str(error))  # noqa: TRY400 - one line says all
        sys.stderr.write(f"{service}: {error}\n")
    except Exception:
        outcome.failed = True
        log.exception("process.crashed")
    finally:
        tracing.shutdown()
        signal.setitimer(signal.ITIMER_REAL, 0)
    if outcome.failed:
        raise SystemExit(_FAILED)
    log.info("process.ended")


def _collect_seldom() -> None:
    """Look for unreachable cycles less often, and never among what was imported.

    A batch of some hundred commands makes ten thousand objects that are all freed by their reference counts: by default
    the collector walks them a dozen times, which is a fifth of a busy service's time and the tail of an idle one's.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


class _Outcome:
    """How long `main` may take to end and how it ended, for the signal handler that ends what hangs."""

    def __init__(self, main_s: float) -> None:
        self.main_s = main_s
        self.done = False
        self.failed = False


async def _until_stopped(main: Main, outcome: _Outcome) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop(number: signal.Signals) -> None:
        if not stop.is_set():
            log.info("process.stopping", signal=number.name)
            stop.set()

    def signalled(number: int, _frame: FrameType | None) -> None:
        # Not the loop's own handlers: those wait for the loop, and it may be what is blocked.
        _arm(outcome)
        loop.call_soon_threadsafe(asked_to_stop, signal.Signals(number))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
    log.info("process.started", pid=os.getpid())
    task = asyncio.ensure_future(main(stop))
    waiting = loop.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=outcome.main_s)
        if not task.done():
            outcome.failed = True
            log.error("process.stop_overdue", seconds=outcome.main_s)
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
        if task.done() and not task.cancelled():
            task.result()
        outcome.done = not outcome.failed
    finally:
        waiting.cancel()
        _arm(outcome)  # what follows joins threads, which may work for ever


def _arm(outcome: _Outcome) -> None:
    """Let a timer end the process, unless it is already set."""
    if signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if outcome.done else _FAILED)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, outcome.main_s + _GRACE_S)
