"""Watching and steering jobs: live rows, retry, cancel, run, filters, pages, the audit log, Swagger and the log-out."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Route, StorageState, expect

from jobplane.chassis import clock
from tests.e2e.visit import NARROW, WIDE, Scheme, Visit
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

UNHANDLED = "nobody.handles"
"""A kind without a handler: such jobs stay where they are."""


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[httpx2.Client]:
    with platform.client() as client:
        yield client


def create(api: httpx2.Client, kind: str = UNHANDLED, **more: Any) -> str:
    answer = api.post("/jobs", json={"kind": kind, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def create_failed(api: httpx2.Client) -> str:
    """A job that fails at its first attempt: its file is no picture."""
    asset = api.post("/assets", files={"file": ("letter.jpg", b"Dear reader")}).json()
    return create(api, "image.thumbnail", asset=asset["id"])


def test_a_new_job_appears_without_a_click_and_the_typed_filter_stays(admin: Visit, api: httpx2.Client) -> None:
    first = create(api)
    expect(admin.row(first)).to_be_visible()
    kind = admin.page.get_by_label("Kind")
    kind.focus()
    kind.press_sequentially("nobody.ha")
    second = create(api)
    expect(admin.row(second)).to_be_visible()
    expect(kind).to_be_focused()
    expect(kind).to_have_value("nobody.ha")
    admin.expect_status(second, "Pending")


def test_a_failed_job_is_retried_and_says_so(admin: Visit, api: httpx2.Client) -> None:
    job = create_failed(api)
    admin.expect_status(job, "Failed")
    admin.row(job).get_by_role("button", name="Retry").click()
    expect(admin.toast("Retried")).to_contain_text(job[-8:])
    admin.shoot("retried")
    admin.row(job).get_by_role("link").click()
    history = admin.page.locator(".timeline")
    expect(history).to_contain_text("Retried")
    expect(history.locator("li")).to_have_count(6)
    expect(admin.page.locator("pre[aria-label=Stack]")).to_contain_text("Traceback")
    admin.expect_accessible()
    admin.shoot("job-failed")


def test_a_cancel_asks_first_takes_a_reason_and_keeps_the_focus_in_its_row(admin: Visit, api: httpx2.Client) -> None:
    job, page = create(api), admin.page
    cancel = admin.row(job).get_by_role("button", name="Cancel")
    cancel.click()
    expect(page.get_by_role("heading", name="Cancel this job?")).to_be_visible()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    admin.expect_accessible()
    admin.shoot("cancel")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(cancel).to_be_focused()
    admin.expect_status(job, "Pending")

    page.keyboard.press("Enter")
    page.get_by_label("Reason").fill("no longer needed")
    page.get_by_role("button", name="Cancel the job").click()
    expect(admin.toast("Cancelled")).to_be_visible()
    admin.expect_status(job, "Cancelled")
    expect(admin.row(job).get_by_role("link")).to_be_focused()

    page.goto("/admin/audit?action=JOB_CANCELLED")
    entry = page.locator("tbody tr").filter(has_text=job[-8:])
    expect(entry).to_contain_text("no longer needed")
    expect(entry).to_contain_text("admin")


def test_a_waiting_job_runs_at_once_when_told_to(admin: Visit, api: httpx2.Client) -> None:
    asset = api.post("/assets", files={"file": ("letter.jpg", b"Dear reader")}).json()
    job = create(api, "image.metadata", asset=asset["id"], run_at=str(clock.now() + timedelta(days=1)))
    expect(admin.row(job)).to_contain_text("due in")
    admin.row(job).get_by_role("button", name="Run now").click()
    expect(admin.toast("Runs next")).to_be_visible()
    admin.expect_status(job, "Failed")


def test_what_is_no_longer_possible_is_refused_in_a_readable_sentence(admin: Visit, api: httpx2.Client) -> None:
    job, page = create(api), admin.page
    admin.expect_status(job, "Pending")
    admin.row(job).get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Cancel the job")).to_be_visible()
    assert api.post(f"/jobs/{job}/cancel").status_code == 200
    page.get_by_role("button", name="Cancel the job").click()
    refused = admin.toast("Not cancelled")
    expect(refused).to_be_visible()
    admin.shoot("refused")
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_what_a_bulk_operation_does_shows_in_the_list_and_on_the_page_of_its_job(
    admin: Visit, api: httpx2.Client
) -> None:
    jobs = [create(api, "in.bulk") for _ in range(3)]
    detail = admin.context.new_page()
    detail.goto(f"/admin/jobs/{jobs[0]}")
    for page in (admin.page, detail):
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
    last = create(api, "in.bulk")
    expect(admin.row(last)).to_be_visible()
    assert api.post("/jobs/bulk", json={"action": "cancel", "ids": [*jobs, last]}).status_code == 202
    admin.expect_status(last, "Cancelled")
    expect(detail.locator("h1 + .status")).to_have_text("Cancelled")
    expect(detail.locator(".timeline li").first).to_contain_text("in bulk operation …")


def test_filters_and_pages_stand_in_the_address(admin: Visit, api: httpx2.Client) -> None:
    kind, page = "many.pages", admin.page
    jobs = [create(api, kind, queue="pages") for _ in range(52)]
    page.get_by_label("Kind").fill(kind)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"kind=many\.pages"))
    expect(page.locator("#jobs tbody tr")).to_have_count(50)
    expect(admin.row(jobs[-1])).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(2)
    expect(admin.row(jobs[0])).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    expect(admin.row(jobs[-1])).to_be_visible()
    page.get_by_label("Queue").select_option("default")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()
    admin.expect_accessible()
    page.go_back()
    expect(page.locator("#jobs tbody tr")).to_have_count(50)
    expect(page.get_by_label("Queue")).to_have_value("")
    page.get_by_role("link", name="Clear filters").click()
    page.get_by_role("navigation", name="Jobs by status").get_by_role("link", name="Pending").click()
    expect(page).to_have_url(re.compile(r"status=PENDING"))
    expect(page.locator(".counter[aria-current=true]")).to_contain_text("Pending")


def test_a_search_finds_its_jobs_and_one_that_is_wrong_says_where(admin: Visit, api: httpx2.Client) -> None:
    page, wanted, other = admin.page, create(api, "searched.for", tags=["wanted"]), create(api, "searched.for")
    expect(admin.row(other)).to_be_visible()
    search = page.get_by_label("Search")
    search.fill("kind:searched.* tag:wanted")
    search.press("Enter")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    expect(admin.row(wanted)).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=kind%3Asearched"))
    search.fill("kind:searched.* tga:wanted")
    search.press("Enter")
    expect(page.locator("mark")).to_have_text("tga:")
    expect(page.get_by_role("alert")).to_contain_text('did you mean "tag"?')
    admin.expect_accessible()
    admin.shoot("search-wrong")
    page.get_by_role("link", name="Remove the search").click()
    expect(admin.row(other)).to_be_visible()
    expect(search).to_have_value("")


def test_a_refresh_that_comes_late_does_not_undo_a_new_filter(admin: Visit, api: httpx2.Client) -> None:
    wanted, page, held = create(api, "late.wanted"), admin.page, list[Route]()
    expect(admin.row(wanted)).to_be_visible()
    page.route(re.compile(r"/admin/jobs$"), lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks its handlers
    with page.expect_request(re.compile(r"/admin/jobs$")):
        other = create(api, "late.other")
    page.get_by_label("Kind").fill("late.wanted")
    page.keyboard.press("Enter")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    page.unroute_all()  # lets go of what was held
    more = create(api, "late.wanted")
    expect(admin.row(more)).to_be_visible()
    expect(admin.row(other)).to_have_count(0)


def test_the_audit_log_tells_of_new_entries_and_finds_by_actor(admin: Visit, api: httpx2.Client) -> None:
    page = admin.page
    page.goto("/admin/audit?actor=admin")
    admin.expect_live()
    job = create(api)
    news = page.locator("#audit-new").get_by_role("link")
    expect(news).to_contain_text("1 new entry")
    news.click()
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("Job created")
    expect(first).to_contain_text(job[-8:])
    admin.expect_accessible()
    admin.shoot("audit")
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile(r"outcome=refused"))
    expect(page.get_by_label("Actor")).to_have_value("admin")


def test_swagger_is_for_admins_who_are_logged_in(stranger: Visit) -> None:
    page, platform = stranger.page, stranger.platform
    page.goto("/api/docs/swagger")
    expect(page).to_have_url(re.compile(r"/admin/login\?next="))
    stranger.log_in()
    page.get_by_role("link", name="API").click()
    expect(page).to_have_url(f"{platform.url}/api/docs/swagger")
    expect(page.locator("#swagger").get_by_text("List and search jobs", exact=True)).to_be_visible()
    stranger.shoot("swagger")


def test_the_theme_is_remembered(admin: Visit) -> None:
    page = admin.page
    page.get_by_role("button", name="admin").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_class("dark")
    page.reload()
    expect(page.locator("html")).to_have_class("dark")
    page.get_by_role("button", name="admin").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    admin.expect_accessible()
    admin.shoot("account")


def test_a_log_out_ends_the_session_on_every_tab(stranger: Visit) -> None:
    page, platform = stranger.page, stranger.platform
    stranger.log_in()
    other = stranger.context.new_page()
    other.goto("/admin/jobs")
    page.get_by_role("button", name="admin").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{platform.url}/admin/login?out")
    expect(other).to_have_url(re.compile(r"/admin/login"))
    page.goto("/admin/jobs")
    expect(page).to_have_url(re.compile(r"/admin/login\?next="))


def test_addresses_that_do_not_exist_have_a_page(admin: Visit) -> None:
    for path in ("/admin/nothing", "/admin/jobs/01920a3c-7f00-7a00-8000-0123456789ab", "/admin/jobs/x"):
        answer = admin.page.goto(path)
        assert answer is not None
        assert answer.status in {404, 422}
        expect(admin.page.get_by_role("heading", level=1)).to_be_visible()
    admin.expect_accessible()
    admin.shoot("not-found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_screen_is_accessible_and_fits(
    chromium: Browser,
    platform: Platform,
    api: httpx2.Client,
    session: StorageState,
    size: tuple[int, int],
    scheme: Scheme,
) -> None:
    job = create_failed(api)
    create(api, "a.kind." + "with_a_very_long_name." * 3 + "v2", tags=["a" * 64], queue="q" * 64)
    with Visit(chromium, platform, size, scheme, session) as visit:
        visit.page.goto("/admin/jobs")
        visit.expect_status(job, "Failed")
        for name, path in (("jobs", "/admin/jobs"), ("job", f"/admin/jobs/{job}"), ("audit", "/admin/audit")):
            visit.page.goto(path)
            visit.expect_live()
            visit.expect_accessible()
            visit.shoot(f"{name}-{size[0]}-{scheme}")
