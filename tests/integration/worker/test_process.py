"""The worker as a program: started by name, ended by a signal."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from jobplane.chassis.object_store import ObjectStore
from jobplane.contracts import assets
from tests.integration.worker.fake_jobs import FakeJobs
from tests.support.servers import Bus
from tests.support.waiting import eventually
from tests.unit.images.files import bomb, opened, photograph, picture

HANDLERS = """
import asyncio
import time
from jobplane.worker import Context, handler

@handler("nap")
async def nap(ctx: Context, payload: dict) -> str:
    await asyncio.sleep(payload["s"])
    return "rested"

@handler("block")
def block(ctx: Context, payload: dict) -> None:
    time.sleep(payload["s"])
"""

Launch = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def launch(bus: Bus, tmp_path: Path) -> AsyncIterator[Launch]:
    """Start `python -m jobplane.worker` in a directory that holds the module `naps`."""
    (tmp_path / "naps.py").write_text(HANDLERS)
    started: list[asyncio.subprocess.Process] = []

    async def worker(**environment: str) -> asyncio.subprocess.Process:
        told = {
            "JOBPLANE_NATS_URL": bus.url("worker"),
            "JOBPLANE_INSTANCE": "w-1",
            "JOBPLANE_WORKER_MODULES": "naps",
            "PATH": os.environ["PATH"],
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jobplane.worker",
            cwd=tmp_path,
            env=told | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield worker
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_worker_told_to_end_gives_back_what_does_not_finish(jobs: FakeJobs, launch: Launch) -> None:
    worker = await launch()
    short, long, blocking = jobs.add("nap", {"s": 1}), jobs.add("nap", {"s": 60}), jobs.add("block", {"s": 60})
    await eventually(lambda: len(jobs.leased) == 3)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0
    assert time.monotonic() - began < 4.5
    assert {job: jobs.outcomes[job].outcome for job in (short, long, blocking)} == {
        short: "completed",
        long: "released",
        blocking: "released",
    }


async def test_broken_files_fail_their_jobs_and_not_the_worker(jobs: FakeJobs, launch: Launch, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    store = ObjectStore(url)
    files = {
        "photo": photograph(6),
        "empty": b"",
        "text": b"not a picture",
        "cut": picture(400, 300)[:1500],
        "bomb": bomb(),
    }
    for name, data in files.items():
        await store.put(assets.original(name), data)
    worker = await launch(JOBPLANE_WORKER_MODULES="jobplane.images", JOBPLANE_OBJECT_STORE_URL=url)
    made = {name: jobs.add("image.thumbnail", {"side": 30}, asset=name) for name in [*files, "missing"]}
    await eventually(lambda: len(jobs.outcomes) == len(made), timeout=20)
    errors = {name: jobs.outcomes[job].error for name, job in made.items()}
    assert {name: error and (error.type, error.retryable) for name, error in errors.items()} == {
        "photo": None,
        "empty": ("EmptyFile", False),
        "text": ("NotAPicture", False),
        "cut": ("DamagedPicture", False),
        "bomb": ("PictureTooLarge", False),
        "missing": ("NoAsset", False),
    }
    assert opened(await store.get(assets.thumbnail("photo"))).size == (20, 30)
    assert worker.returncode is None


async def test_an_idle_worker_ends_at_once(jobs: FakeJobs, launch: Launch) -> None:
    worker = await launch()
    await eventually(lambda: jobs.beats and jobs.lease_requests)
    began = time.monotonic()
    worker.send_signal(signal.SIGINT)
    assert await worker.wait() == 0
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("environment", "status", "sentence"),
    [
        ({"JOBPLANE_WORKER_MODULES": "nowhere"}, 1, "there is no module 'nowhere' here"),
        ({"JOBPLANE_WORKER_MODULES": "json"}, 1, "no handler is declared in json"),
        ({"JOBPLANE_WORKER_QUEUES": "Default!"}, 2, "JOBPLANE_WORKER_QUEUES is invalid"),
        ({"JOBPLANE_WORKER_CONCURRENCY": "0"}, 2, "JOBPLANE_WORKER_CONCURRENCY is invalid"),
    ],
)
async def test_a_worker_that_cannot_work_says_why_in_one_line(
    launch: Launch, environment: dict[str, str], status: int, sentence: str
) -> None:
    worker = await launch(**environment)
    _, stderr = await worker.communicate()
    assert worker.returncode == status
    assert sentence in stderr.decode()
    assert stderr.decode().count("\n") == 1


def test_the_worker_loads_no_database_and_no_web_framework() -> None:
    code = """
import sys
import jobplane.worker.__main__, jobplane.images
heavy = {"alembic", "fastapi", "faststream", "opentelemetry", "psycopg", "psycopg_pool", "sqlalchemy", "starlette"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}), __import__("threading").active_count())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[] 1\n"
