"""The console's screens and actions over real HTTP: who gets what, in which form, and what is never done."""

from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.contracts.commands import CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.contracts.queries import ListJobs
from jobplane.contracts.search_grammar import parse
from tests.integration.gateway.conftest import ADMIN_PASSWORD, Running
from tests.integration.gateway.scripted_jobs import done, job, refused

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/admin/jobs?kind=a"}
SCREENS = (
    "/admin",
    "/admin/jobs",
    "/admin/audit",
    "/admin/audit/new",
    "/admin/forbidden",
    "/admin/nothing",
    f"/admin/jobs/{new_id()}",
)
STATS = {"by_status": dict.fromkeys(JobStatus, 3), "queues": [], "position": 9}


def script(gateway: Running, *views: Any) -> None:
    """What the other services answer."""
    items = [view.model_dump(mode="json") for view in views]
    missing = {"problem": {"code": "job_not_found", "detail": "No.", "facts": {}}}
    gateway.jobs.answers |= {
        "jobs.query.list": {"items": items, "next_cursor": None},
        "jobs.query.stats": STATS,
        "jobs.query.detail": items[0] if items else missing,
        "jobs.query.history": {"items": [], "next_cursor": None},
        "audit.query.list": {"items": [], "next_cursor": None},
    }


@pytest.mark.parametrize("path", SCREENS)
async def test_without_a_session_every_screen_leads_to_the_login(gateway: Running, path: str) -> None:
    answer = await gateway.client().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/admin/login")
    assert await gateway.recorded("command.refused.v1") == [], "opening a page is no attempt at anything"


async def test_a_refresh_without_a_session_takes_the_whole_page_to_the_login(gateway: Running) -> None:
    answer = await gateway.client(headers=HTMX).get("/admin/jobs")
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/admin/login?next=%2Fadmin%2Fjobs%3Fkind%3Da"


async def test_a_link_from_elsewhere_is_asked_for_again_so_that_the_session_comes_along(gateway: Running) -> None:
    answer = await gateway.client(headers={"Sec-Fetch-Site": "cross-site"}).get("/admin/jobs?kind=a")
    assert answer.status_code == 200
    assert 'content="0; url=/admin/jobs?kind=a"' in answer.text


async def test_the_login_form_opens_a_session_and_leads_on(gateway: Running) -> None:
    browser = gateway.client()
    wrong = await browser.post("/admin/login", data={"username": "admin", "password": "wrong", "next": "/admin/audit"})
    assert wrong.status_code == 401
    assert "do not belong together" in wrong.text
    assert 'value="/admin/audit"' in wrong.text
    assert "wrong" not in wrong.text
    told = {"username": "admin", "password": ADMIN_PASSWORD, "next": "//evil.example"}
    right = await browser.post("/admin/login", data=told)
    assert right.status_code == 303
    assert right.headers["location"] == "/admin"
    assert "HttpOnly" in right.headers["set-cookie"]
    assert "samesite=strict" in right.headers["set-cookie"].lower()
    again = await browser.get("/admin/login?next=/admin/audit")
    assert again.headers["location"] == "/admin/audit"
    ended = await browser.post("/admin/logout")
    assert ended.headers["location"] == "/admin/login?out"
    assert (await browser.get("/admin/jobs")).status_code == 303


@pytest.mark.parametrize("name", ["%00", "admin%00", "%ED%A0%80", "%FF"])
async def test_a_name_that_cannot_be_is_refused_like_any_other(gateway: Running, name: str) -> None:
    answer = await gateway.client().post(
        "/admin/login",
        content=f"username={name}&password=wrong",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 401
    assert "do not belong together" in answer.text


async def test_too_many_attempts_are_told_how_long_to_wait(gateway: Running) -> None:
    browser = gateway.client()
    for _ in range(gateway.gateway.settings.login_attempts):
        await browser.post("/admin/login", data={"username": "admin", "password": "wrong"})
    answer = await browser.post("/admin/login", data={"username": "admin", "password": ADMIN_PASSWORD})
    assert answer.status_code == 429
    assert "Too many attempts" in answer.text
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/admin/login", "/admin/logout", "/admin/upload", f"/admin/jobs/{new_id()}/retry"])
async def test_no_other_site_can_make_a_browser_act(gateway: Running, path: str) -> None:
    for header in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        browser = await gateway.browser(Role.SUPERADMIN, **header)
        answer = await browser.post(path, data={"username": "admin", "password": ADMIN_PASSWORD})
        assert answer.status_code == 403
        assert "Another site made this request" in answer.text
        assert "set-cookie" not in answer.headers
    assert gateway.jobs.commands == []


BUTTONS = {
    JobStatus.PENDING: {"run", "cancel"},
    JobStatus.RUNNING: {"cancel"},
    JobStatus.FAILED: {"retry"},
    JobStatus.COMPLETED: set(),
    JobStatus.CANCELLED: set(),
}


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("path", ["/admin/jobs", "/admin/jobs/{id}"])
async def test_a_screen_offers_what_the_status_allows_and_a_viewer_nothing(
    gateway: Running, status: JobStatus, path: str
) -> None:
    view = job(status=status)
    script(gateway, view)
    for role, expected in ((Role.ADMIN, BUTTONS[status]), (Role.VIEWER, set())):
        text = (await (await gateway.browser(role)).get(path.format(id=view.id))).text
        offered = {verb for verb in ("retry", "run", "cancel") if f"/admin/jobs/{view.id}/{verb}" in text}
        assert offered == expected
        assert ("/api/docs/swagger" in text) is (role is Role.ADMIN)
        assert ("Add pictures" in text) is (role is Role.ADMIN and path == "/admin/jobs")


@pytest.mark.parametrize(("verb", "command"), [("retry", RetryJob), ("cancel", CancelJob), ("run", ForceRunJob)])
async def test_an_action_becomes_a_command_with_its_reason_and_is_told(
    gateway: Running, verb: str, command: type
) -> None:
    admin, id_ = await gateway.browser(), new_id()
    answer = await admin.post(f"/admin/jobs/{id_}/{verb}", data={"reason": " too early "}, headers=HTMX)
    assert answer.status_code == 200
    assert answer.headers["hx-trigger"] == "jobs:changed"
    assert 'data-kind="done"' in answer.text
    [message] = gateway.jobs.commands
    assert type(message.command) is command
    assert message.command.target == id_
    assert message.reason == "too early"
    assert message.actor.role is Role.ADMIN


async def test_a_viewer_is_refused_by_the_handler_and_the_refusal_recorded(gateway: Running) -> None:
    viewer = await gateway.browser(Role.VIEWER)
    for method, path in (
        ("POST", f"/admin/jobs/{new_id()}/retry"),
        ("GET", f"/admin/jobs/{new_id()}/cancel"),
        ("POST", "/admin/upload"),
    ):
        answer = await viewer.request(method, path, headers=HTMX)
        assert answer.status_code == 403
        assert answer.headers["hx-retarget"] == "#toasts"
        assert "needs the role ADMIN" in answer.text
    assert gateway.jobs.commands == []
    assert [refusal["code"] for refusal in await gateway.recorded("command.refused.v1")] == ["forbidden"] * 3


async def test_a_refusal_of_the_jobs_service_is_a_notice_in_words(gateway: Running) -> None:
    gateway.jobs.decide = lambda message: refused(message, "job_not_failed")
    answer = await (await gateway.browser()).post(f"/admin/jobs/{new_id()}/retry", headers=HTMX)
    assert answer.status_code == 409
    assert answer.headers["hx-retarget"] == "#toasts"
    assert "Not retried" in answer.text
    assert "Because." in answer.text


async def test_a_command_that_takes_long_is_accepted_not_lost(gateway: Running) -> None:
    gateway.jobs.decide = lambda _: None
    answer = await (await gateway.browser()).post(f"/admin/jobs/{new_id()}/run", headers=HTMX)
    assert answer.status_code == 202
    assert "Accepted" in answer.text


@pytest.mark.parametrize("reason", ["x" * 1001, "a\x00b", "bell\x07"])
async def test_a_reason_that_cannot_be_kept_is_refused(gateway: Running, reason: str) -> None:
    answer = await (await gateway.browser()).post(
        f"/admin/jobs/{new_id()}/cancel", data={"reason": reason}, headers=HTMX
    )
    assert answer.status_code == 422
    assert gateway.jobs.commands == []


async def test_texts_of_others_are_never_markup(gateway: Running) -> None:
    evil = "<script>alert(1)</script>"
    error = {"type": evil, "message": evil, "stack": evil, "fingerprint": "0" * 16}
    view = job(
        kind=evil, queue=evil, worker=evil, status=JobStatus.FAILED, error=error, tags=[evil], result={evil: evil}
    )
    script(gateway, view)
    viewer = await gateway.browser(Role.VIEWER)
    for path in ("/admin/jobs", f"/admin/jobs/{view.id}", f"/admin/jobs?kind={evil}&queue={evil}"):
        answer = await viewer.get(path)
        assert answer.status_code == 200
        assert evil not in answer.text
        assert evil in unescape(answer.text)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


async def test_the_jobs_screen_searches_as_the_api_does(gateway: Running) -> None:
    script(gateway, job())
    path = "/admin/jobs?status=FAILED&q=kind%3Aimage.*+actor%3Aadmin"
    text = (await (await gateway.browser(Role.VIEWER)).get(path)).text
    [asked] = [ListJobs.model_validate_json(body) for subject, body in gateway.jobs.asked if subject.endswith(".list")]
    [admin] = asked.filter.actor
    assert str(UUID(admin)) == admin, "names are known to the gateway alone"
    assert asked.filter.model_copy(update={"actor": ("admin",)}) == parse("kind:image.* actor:admin")
    assert asked.status == [JobStatus.FAILED]
    assert 'value="kind:image.* actor:admin"' in text
    assert 'href="/admin/jobs?status=FAILED">' in text, "the search can be taken away"


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "part"])
async def test_a_query_that_means_nothing_is_explained_in_the_place_of_the_list(
    gateway: Running, headers: dict[str, str]
) -> None:
    script(gateway, job())
    answer = await (await gateway.browser(Role.VIEWER)).get("/admin/jobs?q=stauts:failed+mail", headers=headers)
    assert answer.status_code == 200
    assert '<mark class="wrong">stauts:</mark>failed mail' in answer.text
    assert "did you mean &#34;status&#34;?" in answer.text
    assert "<table" not in answer.text
    nobody = await (await gateway.browser(Role.VIEWER)).get("/admin/jobs?q=actor:nobody", headers=headers)
    assert "Nobody is called nobody" in nobody.text
    assert not [subject for subject, _ in gateway.jobs.asked if subject.endswith(".list")]


async def test_a_search_that_takes_too_long_is_told_in_the_place_of_the_list(gateway: Running) -> None:
    script(gateway, job())
    problem = {"code": "search_too_slow", "detail": "Name a status.", "facts": {"retry_after_s": 2}}
    gateway.jobs.answers["jobs.query.list"] = {"problem": problem}
    answer = await (await gateway.browser(Role.VIEWER)).get("/admin/jobs?q=x")
    assert answer.status_code == 200
    assert "Name a status." in answer.text
    assert "data-retry" not in answer.text


async def test_conditions_that_the_screen_does_not_know_are_named(gateway: Running) -> None:
    script(gateway, job())
    viewer = await gateway.browser(Role.VIEWER)
    text = (await viewer.get("/admin/jobs?status=SLEEPING&stauts=FAILED")).text
    assert "This page does not know" in text
    assert '<code class="mono">status=SLEEPING</code>, <code class="mono">stauts</code>' in text
    assert "does not know" not in (await viewer.get("/admin/jobs?status=FAILED&queue=&kind=&q=&limit=100")).text


async def test_a_part_that_is_away_is_a_page_or_a_banner_above_the_old_rows(gateway: Running) -> None:
    viewer = await gateway.browser(Role.VIEWER)
    gateway.jobs.answers["jobs.query.stats"] = {
        "problem": {"code": "unavailable", "detail": "Away.", "facts": {"retry_after_s": 2}}
    }
    gateway.jobs.answers["jobs.query.list"] = {"items": [], "next_cursor": None}
    page = await viewer.get("/admin/jobs")
    assert page.status_code == 503
    assert page.headers["retry-after"] == "2"
    assert "data-retry" in page.text
    assert 'aria-label="Main"' in page.text
    part = await viewer.get("/admin/jobs", headers=HTMX)
    assert part.status_code == 503
    assert part.headers["hx-retarget"] == "#banner"
    assert "<html" not in part.text


async def test_a_fault_of_ours_is_a_page_with_a_trace_and_without_details(gateway: Running) -> None:
    gateway.jobs.answers |= {"jobs.query.list": {"items": "nonsense"}, "jobs.query.stats": STATS}
    page = await (await gateway.browser()).get("/admin/jobs")
    assert page.status_code == 500
    assert page.headers["x-trace-id"] in page.text
    assert "nonsense" not in page.text
    assert "Traceback" not in page.text


@pytest.mark.parametrize("path", ["/admin/nothing", f"/admin/jobs/{new_id()}"])
async def test_what_does_not_exist_has_a_page(gateway: Running, path: str) -> None:
    script(gateway)
    answer = await (await gateway.browser()).get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


async def test_only_jobs_that_wait_say_when_they_are_due(gateway: Running) -> None:
    script(gateway, job(run_at=clock.now() + timedelta(minutes=5)), job(run_at=clock.now(), forced=True), job())
    text = (await (await gateway.browser()).get("/admin/jobs")).text
    assert text.count(">due <time") == 1
    assert text.count("first in line") == 1


async def test_each_uploaded_picture_becomes_a_file_and_a_job(gateway: Running) -> None:
    admin = await gateway.browser()
    files = [("file", (f"{name}.png", b"\x89PNG\r\n\x1a\n", "image/png")) for name in ("a", "b")]
    answer = await admin.post("/admin/upload", files=files, headers={"Accept": "text/plain"})
    assert answer.status_code == 201
    assert [message.command.type for message in gateway.jobs.commands] == ["create", "create"]
    uploads = {event["stream_id"] for event in await gateway.recorded("asset.uploaded.v1")}
    assert {getattr(message.command, "asset", None) for message in gateway.jobs.commands} == uploads
    nothing = await admin.post("/admin/upload", files=[("other", b"x")], headers={"Accept": "text/plain"})
    assert nothing.status_code == 422
    assert nothing.text == "Choose at least one picture."
    stranger = await gateway.client().post("/admin/upload", files=files, headers={"Accept": "text/plain"})
    assert stranger.status_code == 401
    assert len(await gateway.recorded("asset.uploaded.v1")) == 2


async def test_new_audit_entries_are_counted_from_what_is_shown(gateway: Running) -> None:
    script(gateway)
    entry = {
        "source": "EVT_JOBS",
        "at": "2026-11-22T12:00:00Z",
        "action": "JOB_RETRY",
        "actor": {"id": "worker-1", "kind": "worker"},
        "target": {"type": "job", "id": new_id()},
        "outcome": "accepted",
        "correlation_id": "c",
        "trace_id": "0" * 32,
    }
    items = [entry | {"position": n, "source_position": n} for n in (9, 8, 7)]
    gateway.jobs.answers["audit.query.list"] = {"items": items, "next_cursor": None}
    viewer = await gateway.browser(Role.VIEWER)
    assert "2 new entries" in (await viewer.get("/admin/audit/new?after=7")).text
    assert "1 new entry" in (await viewer.get("/admin/audit/new?after=8")).text
    assert (await viewer.get("/admin/audit/new?after=9")).text.strip() == ""
    page = await viewer.get("/admin/audit?actor=worker-1&outcome=accepted")
    assert "Job retry" in page.text
    subject, body = gateway.jobs.asked[-1]
    assert subject == "audit.query.list"
    assert b'"actor":"worker-1"' in body


async def test_static_files_are_kept_by_browsers_and_swagger_is_not_among_them(gateway: Running) -> None:
    stranger = gateway.client()
    kept = await stranger.get("/static/console/theme.js?v=1")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await stranger.get("/static/console/theme.js")).headers["cache-control"] == "no-cache"
    for path in ("/static/swagger/init.js", "/static/console/../swagger/init.js", "/static/console/%2e%2e/templates"):
        assert (await stranger.get(path)).status_code == 404


async def test_a_job_in_the_list_shows_its_outcome_after_an_action(gateway: Running) -> None:
    view = job(status=JobStatus.RUNNING, worker="worker-1", run=1, attempt=1)
    script(gateway, view)
    gateway.jobs.decide = lambda message: done(message, job=view.model_copy(update={"stop": StopState.PENDING}))
    admin = await gateway.browser()
    question = await admin.get(f"/admin/jobs/{view.id}/cancel", headers=HTMX)
    assert "is running on worker-1" in question.text
    answer = await admin.post(f"/admin/jobs/{view.id}/cancel", headers=HTMX)
    assert "its worker has been told to stop" in answer.text
