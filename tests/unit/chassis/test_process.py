import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest

from tests.support.waiting import eventually_sync

HEAD = """
import asyncio, threading
from jobplane.chassis import process
from jobplane.contracts.errors import Unavailable
async def main(stop):
    print('{"event": "up"}', flush=True)
    BODY
process.run(main, "jobs", "jobs-1")
"""
WAITS = "await stop.wait()"

Children = list[subprocess.Popen[bytes]]


@pytest.fixture
def children() -> Iterator[Children]:
    started: Children = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def start(children: Children, body: str) -> subprocess.Popen[bytes]:
    script = HEAD.replace("BODY", body)
    command = [sys.executable, "-c", script]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    children.append(child)
    out: IO[bytes] | None = child.stdout
    assert out is not None
    eventually_sync(lambda: b'"up"' in out.readline(), timeout=20)
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_main_end(children: Children, number: signal.Signals) -> None:
    child = start(children, WAITS)
    child.send_signal(number)
    out, err = child.communicate(timeout=10)
    assert (child.returncode, err) == (0, b"")
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["process.stopping", "process.ended"]


CLINGS = "while True:\n        try: await asyncio.Event().wait()\n        except asyncio.CancelledError: pass"
IGNORES = "await asyncio.Event().wait()"
BLOCKS = "threading.Event().wait(60)"
LEAVES_A_THREAD = "asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 60); await stop.wait()"
HANGING = {CLINGS: 1, IGNORES: 1, BLOCKS: 1, LEAVES_A_THREAD: 0}


def test_whatever_main_does_the_process_ends_within_four_seconds(children: Children) -> None:
    started = {body: start(children, body) for body in HANGING}
    asked = time.monotonic()
    for child in started.values():
        child.send_signal(signal.SIGTERM)
    for child in started.values():
        child.communicate(timeout=10)
    assert time.monotonic() - asked < 5  # one second for a busy machine
    assert {body: child.returncode for body, child in started.items()} == HANGING


def test_our_own_error_is_one_plain_line(children: Children) -> None:
    child = start(children, 'raise Unavailable("the database cannot be used: no such host")')
    _, err = child.communicate(timeout=10)
    assert (child.returncode, err) == (1, b"jobs: the database cannot be used: no such host\n")


def test_a_bug_is_logged_with_its_stack(children: Children) -> None:
    child = start(children, "raise KeyError(7)")
    out, err = child.communicate(timeout=10)
    crash = json.loads(out.splitlines()[-1])
    assert (child.returncode, err) == (1, b"")
    assert crash["event"] == "process.crashed"
    assert "KeyError: 7" in crash["exception"]


def test_main_may_end_by_itself(children: Children) -> None:
    child = start(children, "return")
    child.communicate(timeout=10)
    assert child.returncode == 0
