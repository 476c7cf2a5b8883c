"""What can be set, subscribed to or asked must be written down."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from jobplane.audit.settings import AuditSettings
from jobplane.contracts.job_events import JOB_EVENTS
from jobplane.contracts.topology import STREAMS
from jobplane.gateway.settings import GatewaySettings
from jobplane.health.settings import HealthSettings
from jobplane.images.settings import ImageSettings
from jobplane.jobs.settings import Settings as JobsSettings
from jobplane.worker.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
SETTINGS: tuple[type[BaseSettings], ...] = (
    AuditSettings,
    GatewaySettings,
    HealthSettings,
    ImageSettings,
    JobsSettings,
    WorkerSettings,
)


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    written = set(re.findall(r"`(JOBPLANE_[A-Z_]+)`", _page("operations.md")))
    assert {f"JOBPLANE_{name.upper()}" for name in settings.model_fields} <= written


def test_no_setting_is_documented_that_does_not_exist() -> None:
    written = set(re.findall(r"`(JOBPLANE_[A-Z_]+)`", _page("operations.md")))
    assert written <= {f"JOBPLANE_{name.upper()}" for settings in SETTINGS for name in settings.model_fields}


def test_every_stream_is_documented() -> None:
    written = set(re.findall(r"`([A-Z_]+)`", _page("messages.md")))
    assert {stream.name for stream in STREAMS} <= written


def test_every_event_of_a_job_stands_in_the_state_machine() -> None:
    page = _page("state_machine.md")
    assert [event.__name__ for event in JOB_EVENTS.values() if event.__name__ not in page] == []


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
