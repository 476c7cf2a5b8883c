"""What the deployment files say is what the code declares."""

import re
import stat
import subprocess
from pathlib import Path

import pytest

from jobplane.contracts.topology import USERS
from jobplane.local import nats
from tools import deployment

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_nats_configuration_is_current() -> None:
    assert deployment.CONFIGURATION.read_text() == deployment.nats_configuration(), (
        "run: python tools/deployment.py nats"
    )


def test_nats_server_accepts_the_configuration() -> None:
    secrets = {deployment.nats_variable(user.name): deployment.secret() for user in USERS}
    command: list[str | Path] = [nats.binary(), "-t", "-c", deployment.CONFIGURATION]
    checked = subprocess.run(command, env=secrets, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_secret_of_the_compose_file_is_demanded_and_can_be_made() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "${" in text
    assert text.count("${") == text.count(":?"), "a variable without :? would start with an empty secret"
    services = re.findall(r"^  (\w+):$", text.split("\nservices:")[1].split("\nnetworks:")[0], flags=re.MULTILINE)
    assert set(services) == {"nats", "postgres", "setup", "jobs", "audit", "health", "gateway", "worker"}
    for user in USERS:
        assert f"${{{deployment.nats_variable(user.name)}:?" in text


def test_secrets_are_written_for_their_owner_only_and_never_over_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    monkeypatch.setattr("sys.argv", ["deployment.py", "secrets", "--output", str(file)])
    deployment.main()
    written = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    demanded = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert demanded == {line.split("=")[0] for line in written.splitlines()}
    with pytest.raises(SystemExit, match="exists already"):
        deployment.main()
    assert file.read_text() == written


def test_the_worker_container_has_room_for_what_its_settings_allow() -> None:
    worker = (ROOT / "docker-compose.yml").read_text().split("\n  worker:")[1].split("\nnetworks:")[0]
    told = {name: int(value) for name, value in re.findall(r'JOBPLANE_(\w+): "(\d+)"', worker)}
    files = told["WORKER_CONCURRENCY"] * told["IMAGES_MAX_BYTES"]
    assert "mem_limit: 1g" in worker
    assert told["IMAGES_MEMORY_BYTES"] + files <= 0.8 * 1024**3
