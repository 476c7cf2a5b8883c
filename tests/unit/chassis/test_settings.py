import pytest
from pydantic import SecretStr, ValidationError

from jobplane.chassis.settings import ServiceSettings, load

COMPLETE = {
    "JOBPLANE_INSTANCE": "jobs-1",
    "JOBPLANE_NATS_URL": "nats://u:bus-secret@127.0.0.1:4222",
    "JOBPLANE_DATABASE_URL": "postgresql://u:db-secret@127.0.0.1/jobplane",
}


class Settings(ServiceSettings):
    relay_nats_url: SecretStr
    """Where the relay publishes."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (COMPLETE | {"JOBPLANE_RELAY_NATS_URL": "nats://r"}).items():
        monkeypatch.setenv(name, value)


def test_settings_are_read_from_the_environment_and_frozen() -> None:
    settings = load(Settings)
    assert settings.instance == "jobs-1"
    assert settings.database_url.get_secret_value().endswith("/jobplane")
    assert settings.probe_port == 0
    with pytest.raises(ValidationError):
        settings.instance = "other"  # type: ignore[misc]


def test_secrets_do_not_show() -> None:
    shown = repr(load(Settings))
    assert "bus-secret" not in shown
    assert "db-secret" not in shown


def test_a_missing_variable_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOBPLANE_RELAY_NATS_URL")
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "JOBPLANE_RELAY_NATS_URL is not set (Where the relay publishes).\n"


def test_an_invalid_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBPLANE_PROBE_PORT", "no-such-port")
    with pytest.raises(SystemExit):
        load(Settings)
    said = capsys.readouterr().err
    assert said.startswith("JOBPLANE_PROBE_PORT is invalid: ")
    assert said.count("\n") == 1
    assert "no-such-port" not in said
