"""What `jobplane up` keeps and shows, without the platform itself."""

from pathlib import Path

import pytest

from jobplane.cli import up
from jobplane.local import credentials, data_dir
from jobplane.local.data_dir import DataDirectory
from jobplane.local.plan import Options
from jobplane.local.problems import CannotStart
from jobplane.local.signals import Signals
from jobplane.local.supervisor import Stopped


class NoPlatform:
    """Starts nothing, and is stopped at once."""

    url = "http://127.0.0.1:1"

    def __init__(self, *_: object) -> None:
        pass

    def start(self, _password: str | None) -> None:
        pass

    def watch(self) -> None:
        raise Stopped

    def stop(self) -> None:
        pass


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    monkeypatch.delenv("JOBPLANE_ADMIN_PASSWORD", raising=False)
    monkeypatch.setattr(up, "Platform", NoPlatform)
    monkeypatch.setattr(up, "_unknown_yet", lambda known, _url: known.first_password)
    return DataDirectory(tmp_path)


def start(directory: DataDirectory) -> None:
    up._run(directory, credentials.load_or_create(directory.credentials), Options(directory.root), Signals())


def test_a_password_that_was_not_printed_is_shown_at_the_next_start(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(up, "_announce", killed)
        with pytest.raises(KeyboardInterrupt):
            start(directory)
    kept = credentials.load_or_create(directory.credentials)
    assert not kept.set_up
    assert kept.first_password is not None
    start(directory)
    assert kept.first_password in capsys.readouterr().out
    shown = credentials.load_or_create(directory.credentials)
    assert (shown.set_up, shown.first_password) == (True, None)


def test_who_is_refused_leaves_the_ready_file_of_the_other(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.write_text("http://127.0.0.1:8080\n")
    with data_dir.in_use(tmp_path / "data"), pytest.raises(CannotStart, match="in use by another"):
        up.up(tmp_path / "data", ready_file=ready)
    assert ready.exists()


def test_a_password_that_is_too_short_is_refused_before_anything_starts(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBPLANE_ADMIN_PASSWORD", "short")
    with pytest.raises(CannotStart, match="JOBPLANE_ADMIN_PASSWORD cannot be used: A password has 8 to 1024"):
        start(directory)
    assert not credentials.load_or_create(directory.credentials).set_up
