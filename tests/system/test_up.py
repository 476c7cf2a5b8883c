"""`jobplane up` as a person uses it: cold, warm, interrupted, crashed into, and in the wrong place."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.support.platform import ADMIN_PASSWORD, Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system
ALL = ("jobs", "audit", "health", "gateway", "worker-1", "worker-2", "nats-server", "postgres")


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Platform]:
    mine = Platform(tmp_path)
    yield mine
    if mine.started:
        mine.stop()


def open_live_page(platform: Platform) -> threading.Event:
    """An SSE client that listens until the server ends the stream."""
    listening = threading.Event()
    headers = {"Authorization": f"Bearer {platform.token()}"}
    url = f"{platform.url}/api/admin/live"

    def listen() -> None:
        with httpx2.stream("GET", url, headers=headers, timeout=60) as answer:
            listening.set()
            try:
                for _ in answer.iter_lines():
                    pass
            except httpx2.TransportError:
                listening.clear()

    threading.Thread(target=listen, daemon=True).start()
    assert listening.wait(10)
    return listening


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; who only waits to be noticed by init does not."""
    return [one for one in processes if _status(one) not in (None, psutil.STATUS_ZOMBIE)]


def _status(process: psutil.Process) -> str | None:
    try:
        return process.status() if process.is_running() else None
    except psutil.NoSuchProcess:
        return None


def test_a_cold_start_is_ready_says_so_and_hides_its_secrets(whole: Platform) -> None:
    whole.start()
    said = whole.said()
    assert f"ready {whole.url}\n" in said
    assert ADMIN_PASSWORD not in said
    assert httpx2.get(f"{whole.url}/readyz").status_code == 200
    for name in ("credentials.json", "connection.json", "worker.json", "nats/nats-server.conf"):
        assert stat.S_IMODE((whole.data / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(whole.data.stat().st_mode) == 0o700
    assert all(whole.pid(name) for name in ALL)


def test_everything_listens_on_loopback_only(platform: Platform) -> None:
    tree = [psutil.Process(platform.process.pid), *psutil.Process(platform.process.pid).children(recursive=True)]
    listening = [c.laddr.ip for p in tree for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 6
    assert set(listening) == {"127.0.0.1"}


def test_the_second_start_continues_with_the_same_jobs_passwords_and_ports(whole: Platform) -> None:
    whole.start()
    with whole.client() as client:
        job = client.post("/jobs", json={"kind": "nobody.does.this", "payload": {"n": 1}}).json()
    connection = whole.worker_connection
    assert whole.stop() == 0
    assert not whole.ready_file.exists()
    whole.start()
    with whole.client() as client:
        assert client.get(f"/jobs/{job['id']}").json()["payload"] == {"n": 1}
    assert whole.worker_connection == connection


def test_ctrl_c_ends_everything_within_five_seconds_with_a_live_page_open(whole: Platform) -> None:
    whole.start()
    open_live_page(whole)
    children = psutil.Process(whole.process.pid).children(recursive=True)
    started = os.times().elapsed
    assert whole.stop() == 0
    assert os.times().elapsed - started < 5
    assert not alive(children)


def test_ctrl_c_during_the_start_ends_it_cleanly(whole: Platform) -> None:
    whole.launch()
    eventually_sync(lambda: "postgres" in whole.said(), timeout=30)
    assert whole.stop() == 0


@pytest.mark.parametrize("name", ["audit", "worker-1", "nats-server", "postgres"])
def test_a_crashed_process_is_started_again_and_said_so(platform: Platform, name: str) -> None:
    old = platform.kill(name)
    eventually_sync(lambda: platform.pid(name) != old, timeout=15)
    assert f"{name.removesuffix('-server')} ended unexpectedly" in platform.said()
    eventually_sync(lambda: httpx2.get(f"{platform.url}/readyz").status_code == 200, timeout=30)


def test_nothing_survives_a_killed_supervisor(whole: Platform) -> None:
    whole.start()
    children = psutil.Process(whole.process.pid).children(recursive=True)
    whole.process.kill()
    whole.process.wait()
    eventually_sync(lambda: not alive(children), timeout=10)
    whole.start()
    assert httpx2.get(f"{whole.url}/readyz").status_code == 200


def refused(whole: Platform, *options: str) -> str:
    """Start it where it cannot start; returns what it said."""
    whole.launch(*options)
    assert whole.process.wait(60) == 1
    return whole.said()


def test_a_taken_port_is_one_sentence(whole: Platform) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(whole, "--port", str(port))
    assert said == f"jobplane: Port {port} is taken by another program: choose another one with --port.\n"


def test_a_directory_of_a_newer_version_is_refused_and_stays_as_it_is(whole: Platform) -> None:
    whole.data.mkdir(parents=True)
    whole.launch()
    eventually_sync((whole.data / "credentials.json").exists, timeout=30)
    whole.stop()
    file = whole.data / "credentials.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 999}))
    whole.output.write_text("")
    said = refused(whole)
    assert "was written by a newer version of Jobplane (layout 999" in said
    assert said.count("\n") == 1
    assert json.loads(file.read_text())["format"] == 999


def test_a_second_up_on_the_same_directory_is_refused(platform: Platform, tmp_path: Path) -> None:
    second = Platform(tmp_path)
    second.data = platform.data
    said = refused(second)
    assert f"is in use by another `jobplane up` (process {platform.process.pid})" in said
    assert httpx2.get(f"{platform.url}/readyz").status_code == 200


def test_a_missing_right_is_one_sentence(whole: Platform) -> None:
    whole.directory.mkdir(exist_ok=True)
    whole.data.write_text("a file, not a directory")
    assert "is a file, but a directory is needed" in refused(whole)
