"""The data directory: one user at a time, one sentence for everything that is wrong with it."""

import errno
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from jobplane.local import credentials, data_dir
from jobplane.local.problems import CannotStart


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_second_start_in_the_same_directory_is_refused_with_the_process(tmp_path: Path) -> None:
    with (
        data_dir.in_use(tmp_path),
        pytest.raises(CannotStart, match=r"in use by another `jobplane up` \(process \d+\)"),
    ):
        data_dir.in_use(tmp_path).__enter__()


def test_the_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    with data_dir.in_use(tmp_path):
        pass
    with data_dir.in_use(tmp_path) as data:
        assert data.root == tmp_path


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 12 * 1024**2))
    with pytest.raises(CannotStart, match=r"disk of .* is full: 12 MB are free, 256 MB are needed"):
        data_dir.in_use(tmp_path).__enter__()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EACCES, "The right to write"),
        (errno.EROFS, "The right to write"),
        (errno.ENOTDIR, "is a file, but a directory is needed"),
    ],
)
def test_what_the_system_says_becomes_one_sentence(number: int, sentence: str) -> None:
    with pytest.raises(CannotStart, match=sentence), data_dir.plainly(Path("/data")):
        raise OSError(number, "whatever")


def test_other_errors_of_the_system_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="broken"), data_dir.plainly(Path("/data")):
        raise OSError(errno.EIO, "broken")


def test_a_long_log_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    with data_dir.in_use(tmp_path) as data:
        data.log("jobs").write_bytes(bytes(17 * 1024**2))
        data.log("audit").write_text("short\n")
    with data_dir.in_use(tmp_path) as data:
        assert sorted(file.name for file in data.logs.iterdir()) == ["audit.log", "jobs.log.1"]


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="is a file, but a directory is needed"):
        data_dir.in_use(tmp_path / "file" / "data").__enter__()


def test_secrets_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    first = credentials.load_or_create(file)
    assert credentials.load_or_create(file) == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(set(first.nats_users.values()) | set(first.roles.values())) == len(first.nats_users) + len(first.roles)


def test_a_new_user_of_the_bus_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    first = credentials.load_or_create(file)
    older = first.model_copy(update={"nats_users": {"worker": "kept"}})
    credentials.save(file, older)
    again = credentials.load_or_create(file)
    assert again.nats_users["worker"] == "kept"
    assert again.nats_users.keys() == first.nats_users.keys()


def test_the_directory_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    newer = credentials.fresh().model_copy(update={"format": credentials.FORMAT + 1})
    credentials.save(file, newer)
    before = file.read_bytes()
    with pytest.raises(CannotStart, match="written by a newer version of Jobplane"):
        credentials.load_or_create(file)
    assert file.read_bytes() == before


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text("{")
    with pytest.raises(CannotStart, match="is damaged"):
        credentials.load_or_create(file)
