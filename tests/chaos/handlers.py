"""What the workers of a chaos run do; every start and end of a run is recorded by the worker itself."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

from jobplane.worker import Context, Fatal, handler
from tests.chaos.history import Recorder

_worker = os.environ.get("JOBPLANE_INSTANCE", "worker")
_recorder = Recorder(Path(os.environ["CHAOS_HISTORY"]) / f"{_worker}.jsonl", _worker)


class Seen:
    """Records the start and the end of one run."""

    def __init__(self, ctx: Context) -> None:
        self._run = {"job": ctx.job, "run": ctx.run, "attempt": ctx.attempt, "token": ctx._job.token, "kind": ctx.kind}

    def __enter__(self) -> None:
        _recorder.note("run_started", worker=_worker, **self._run)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _recorder.note("run_ended", worker=_worker, how=kind.__name__ if kind else "completed", **self._run)


@handler("chaos.quick")
async def quick(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Done at once."""
    with Seen(ctx):
        return {"echo": payload["marker"]}


@handler("chaos.slow")
async def slow(ctx: Context, payload: dict[str, Any]) -> None:
    """Runs for `seconds`."""
    with Seen(ctx):
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(payload["seconds"], done.set)
        await done.wait()


@handler("chaos.blocks")
def blocks(ctx: Context, payload: dict[str, Any]) -> None:
    """Runs for `seconds` in a thread that looks now and then whether it must stop."""
    with Seen(ctx):
        pause = threading.Event()
        for _ in range(int(payload["seconds"] / 0.05)):
            ctx.raise_if_cancelled()
            pause.wait(0.05)


@handler("chaos.fails")
async def fails(ctx: Context, payload: dict[str, Any]) -> str:
    """Fails so many attempts, for good if told so; succeeds afterwards."""
    with Seen(ctx):
        if ctx.run <= payload["failures"]:
            if payload["fatal"]:
                raise Fatal("told to fail for good")
            raise ValueError("told to fail")
        return "recovered"
