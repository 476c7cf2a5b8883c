"""How commands that look at servers find them, without starting or changing anything."""

from pathlib import Path

import pytest

from jobplane.cli import site
from jobplane.cli.failures import Exit, Failed
from jobplane.local import credentials

DATABASE, NATS = "postgresql://me:pw@db.example.org/jobplane", "nats://nats.example.org:4222"


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> credentials.Credentials:
    """The credentials of a data directory, and no servers in the environment."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("NATS_URL", raising=False)
    secrets = credentials.fresh().model_copy(update={"ports": {"postgres": 5555, "nats": 4444}})
    credentials.save(tmp_path / "credentials.json", secrets)
    return secrets


def test_the_embedded_servers_are_reached_as_the_parts_of_the_platform(
    tmp_path: Path, known: credentials.Credentials
) -> None:
    found = site.find(tmp_path)
    password = known.roles["jobplane_audit"]
    assert found.database_as("audit") == f"postgresql://jobplane_audit:{password}@127.0.0.1:5555/jobplane"
    assert found.nats_as("audit-reader").endswith("@127.0.0.1:4444")
    assert found.nats_user("audit-reader") == "audit-reader"


def test_servers_of_ones_own_come_before_the_embedded(
    tmp_path: Path, known: credentials.Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("NATS_URL", "nats://all:pw@nats.example.org")
    found = site.find(tmp_path)
    assert found.database_as("jobs").startswith("postgresql://jobplane_jobs:")
    assert found.nats_as("worker") == "nats://all:pw@nats.example.org"
    assert found.nats_user("jobs") == "all"


def test_without_a_data_directory_the_addresses_are_used_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("NATS_URL", "nats://health-reader:pw@nats.example.org")
    found = site.find(tmp_path / "none")
    assert found.database_as("jobs") == DATABASE
    assert found.nats_as("audit-reader") == "nats://health-reader:pw@nats.example.org"
    assert found.nats_user("audit-reader") == "health-reader"


@pytest.mark.usefixtures("known")
def test_looking_changes_no_file(tmp_path: Path) -> None:
    before = (tmp_path / "credentials.json").stat().st_mtime_ns
    site.find(tmp_path)
    assert (tmp_path / "credentials.json").stat().st_mtime_ns == before
    assert [file.name for file in tmp_path.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{}", "is damaged"), (None, "No platform was started here"), ("newer", "use the newer version")],
)
def test_what_cannot_be_found_or_understood_is_one_sentence(
    tmp_path: Path, known: credentials.Credentials, text: str | None, says: str
) -> None:
    file = tmp_path / "credentials.json"
    if text is None:
        file.unlink()
    elif text == "newer":
        credentials.save(file, known.model_copy(update={"format": 99}))
    else:
        file.write_text(text)
    with pytest.raises(Failed, match=says) as failure:
        site.find(tmp_path)
    assert failure.value.code is Exit.UNREACHABLE
