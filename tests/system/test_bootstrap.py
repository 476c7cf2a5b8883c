"""`./jobplane` on machines that lack something: one clear sentence each, and nothing half-made counts as installed."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("sh", "dirname", "cut", "cat", "cksum", "awk", "sed", "rm", "mv", "tail", "id")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The bootstrap and what it reads, without an environment."""
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(ROOT / "jobplane", clone)
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, clone)
    for member in [*ROOT.glob("libs/*"), *ROOT.glob("services/*"), *ROOT.glob("workloads/*")]:
        target = clone / member.relative_to(ROOT)
        target.mkdir(parents=True)
        shutil.copy(member / "pyproject.toml", target)
    return clone


def run(clone: Path, pythons: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with nothing on PATH but the shell's tools and these fake interpreters."""
    tools = clone.parent / "bin"
    tools.mkdir(exist_ok=True)
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    for name, script in pythons.items():
        fake = tools / name
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": str(tools)}
    return subprocess.run(
        [clone / "jobplane", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_python_it_says_what_to_install(clone: Path) -> None:
    done = run(clone, {}, "up")
    assert done.returncode == 1
    assert "jobplane: Python is missing: install python3, version 3.11 or newer." in done.stderr


def test_an_old_python_is_named(clone: Path) -> None:
    old = 'case "$1" in -V) echo "Python 3.9.2";; *) exit 1;; esac'
    done = run(clone, {"python3": old}, "up")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, but python3 is 3.9.2" in done.stderr


def test_a_python_without_venv_gets_the_name_of_the_package(clone: Path) -> None:
    lacking = 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac'
    done = run(clone, {"python3": lacking}, "up")
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (clone / ".venv" / ".installed").exists()


def test_an_unchanged_lock_costs_no_installation(clone: Path) -> None:
    environment = clone / ".venv"
    (environment / "bin").mkdir(parents=True)
    command = environment / "bin" / "jobplane"
    command.write_text('#!/bin/sh\necho "ran $*"\n')
    command.chmod(0o755)
    (environment / "bin" / "python").symlink_to(command)
    stamp = subprocess.run(
        ["sh", "-c", f"set -- requirements.lock; here={clone}; {fingerprint()} fingerprint requirements.lock"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (environment / ".installed").write_text(stamp)
    done = run(clone, {}, "jobs", "list")
    assert (done.returncode, done.stdout) == (0, "ran jobs list\n"), done.stderr
    (clone / "requirements.lock").write_text("changed\n")
    assert run_again(clone).returncode == 1, "a changed lock must be installed"


def fingerprint() -> str:
    """The function as the script defines it."""
    lines = (ROOT / "jobplane").read_text().splitlines()
    return next(line for line in lines if line.startswith("fingerprint()")) + ";"


def run_again(clone: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": str(clone.parent / "bin")}
    return subprocess.run(
        [clone / "jobplane"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
