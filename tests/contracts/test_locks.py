"""The locks hold what the members ask for, with hashes, and say nothing about the machine they were made on."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = "libs/cli/src/jobplane/cli/requirements-demo.lock"
LOCKS = ("requirements.lock", "requirements-dev.lock", DEMO)


def pins(name: str) -> dict[str, str]:
    """Package → version."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {canonicalize_name(package): version for package, version in lines}


def asked_for() -> list[Requirement]:
    """What the members' files name, our own members left out."""
    files = [
        *ROOT.glob("libs/*/pyproject.toml"),
        *ROOT.glob("services/*/pyproject.toml"),
        *ROOT.glob("workloads/*/pyproject.toml"),
    ]
    found: list[str] = []
    for file in files:
        project = tomllib.loads(file.read_text())["project"]
        found += project["dependencies"]
        for extra in project.get("optional-dependencies", {}).values():
            found += extra
    return [one for one in map(Requirement, found) if not one.name.startswith("jobplane-")]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_and_no_path(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert str(ROOT) not in text
    assert "jobplane-" not in re.sub(r"#.*", "", text), "members are installed from their sources"


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text().strip())
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)


def test_the_lock_satisfies_what_the_members_ask_for() -> None:
    locked = pins("requirements.lock")
    wrong = [
        str(one)
        for one in asked_for()
        if (name := canonicalize_name(one.name)) not in locked
        or not one.specifier.contains(locked[name], prereleases=True)
    ]
    assert not wrong, "run: just lock"


def test_both_locks_agree_on_what_they_share() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev[name] for name in run.keys() & dev.keys()} == {
        name: run[name] for name in run.keys() & dev.keys()
    }
