"""A real browser on the real platform; what the pages complain about fails the test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, sync_playwright

from tests.e2e.visit import CHROMIUM, FLAGS, Visit
from tests.support.platform import Platform


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser per module: it must be gone before a test with an event loop of its own runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def stranger(chromium: Browser, platform: Platform, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Somebody at the console who has not logged in."""
    with Visit(chromium, platform) as visit:
        yield visit
        keep_what_failed(visit, request)


@pytest.fixture(scope="module")
def session(chromium: Browser, platform: Platform) -> StorageState:
    """The cookies of somebody who logged in as `admin`: once per module is enough."""
    with Visit(chromium, platform) as visit:
        visit.log_in()
        return visit.context.storage_state()


@pytest.fixture
def admin(
    chromium: Browser, platform: Platform, session: StorageState, request: pytest.FixtureRequest
) -> Iterator[Visit]:
    """Somebody who has logged in as `admin` and sees the jobs."""
    with Visit(chromium, platform, session=session) as visit:
        visit.page.goto("/admin/jobs")
        visit.expect_live()
        yield visit
        keep_what_failed(visit, request)


def keep_what_failed(visit: Visit, request: pytest.FixtureRequest) -> None:
    """A picture of the page that a failed test saw last (the report is left at the test by pytest-playwright)."""
    report = getattr(request.node, "rep_call", None)
    if report is not None and report.failed:
        visit.shoot(f"failed-{request.node.name}")
