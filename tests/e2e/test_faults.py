"""What people see when a part of the platform is away, and that the screens come back by themselves."""

import signal

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.visit import Visit
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e


def test_while_the_jobs_service_is_away_rows_stay_and_a_banner_says_so(admin: Visit, platform: Platform) -> None:
    page = admin.page
    with platform.client() as api:
        job = api.post("/jobs", json={"kind": "nobody.handles"}).json()["id"]
        expect(admin.row(job)).to_be_visible()
        platform.kill("jobs", signal.SIGSTOP)
        try:
            page.reload()
            expect(page.get_by_role("heading", level=1)).to_have_text("A part of the platform does not answer")
            admin.expect_accessible()
            admin.shoot("jobs-away")
        finally:
            platform.kill("jobs", signal.SIGCONT)
        expect(admin.row(job)).to_be_visible()
        admin.expect_live()
        platform.kill("jobs", signal.SIGSTOP)
        try:
            page.evaluate("document.dispatchEvent(new CustomEvent('jobs:changed'))")
            expect(page.locator(".banner")).to_contain_text("does not answer")
            expect(admin.row(job)).to_be_visible()
            admin.expect_accessible()
            admin.shoot("jobs-stale")
        finally:
            platform.kill("jobs", signal.SIGCONT)
        expect(page.locator(".banner")).to_have_count(0)


def test_a_page_goes_on_after_the_gateway_was_killed(chromium: Browser, platform: Platform) -> None:
    with Visit(chromium, platform) as visit:
        visit.log_in()
        platform.kill("gateway")
        expect(visit.page.locator("#live")).to_have_attribute("data-state", "reconnecting")
        visit.expect_live()
        with platform.client() as api:
            job = api.post("/jobs", json={"kind": "nobody.handles"}).json()["id"]
        expect(visit.row(job)).to_be_visible()
        # The break itself is what the browser may complain about.
        visit.complaints.clear()
