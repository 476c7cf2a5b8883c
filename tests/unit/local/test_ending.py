"""The end of everything, also after the fork server was killed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from jobplane.local import children as module
from jobplane.local import credentials
from jobplane.local.children import Children
from jobplane.local.data_dir import DataDirectory
from jobplane.local.plan import Child, Options
from jobplane.local.signals import Signals
from jobplane.local.supervisor import Platform

LONG_S = 20.0


class Quiet:
    """Tells nobody."""

    def starting(self, name: str) -> None:
        pass

    def ready(self, name: str) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    found = DataDirectory(tmp_path)
    found.logs.mkdir()
    return found


@pytest.fixture
def children(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    """With one that sleeps."""
    (data.root / "sleeper.py").write_text("import signal\n\n\ndef main():\n    signal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(data.root), prepend=os.pathsep)
    monkeypatch.setattr(module, "PRELOAD", ("sleeper",))
    started = Children(data, Signals(), Quiet())
    run = started.begin(Child("sleeper", "sleeper", dict(os.environ)))
    while not run.alive:
        started.wait(LONG_S)
    yield started
    started.close()


def test_children_end_when_asked(children: Children) -> None:
    deadline = time.monotonic() + LONG_S
    children.end(list(children.runs.values()), deadline)
    assert not children.runs["sleeper"].alive
    assert time.monotonic() < deadline


def test_with_a_killed_fork_server_the_end_is_neither_an_error_nor_awaited(children: Children) -> None:
    children._fork._process.send_signal(signal.SIGKILL)
    children._fork._process.wait()
    deadline = time.monotonic() + LONG_S
    children.end(list(children.runs.values()), deadline)
    assert not children.runs["sleeper"].alive
    assert time.monotonic() < deadline


def test_the_servers_are_stopped_whatever_happens_to_the_children(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        runs = MappingProxyType[str, object]({})

        def end(self, *_: object) -> None:
            raise BrokenPipeError

    class Servers:
        def stop(self, *, timeout_s: float) -> None:
            stopped.append(timeout_s)

    stopped = list[float]()
    platform = Platform(data, credentials.fresh(), Options(data.root), Quiet(), Signals())
    monkeypatch.setattr(platform, "_children", Broken())
    monkeypatch.setattr(platform, "_servers", Servers())
    with pytest.raises(BrokenPipeError):
        platform.stop()
    assert len(stopped) == 1
