"""From the first visit to the first thumbnail."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.visit import Visit
from tests.support.platform import ADMIN_PASSWORD

pytestmark = pytest.mark.e2e


def test_a_stranger_is_asked_for_a_password_and_led_on_to_the_page_they_wanted(stranger: Visit) -> None:
    page = stranger.page
    page.goto("/admin/audit?outcome=refused")
    expect(page).to_have_title("Log in · Jobplane")
    stranger.give("admin", "certainly not this one")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Name")).to_have_value("admin")
    expect(page.get_by_label("Password")).to_be_focused()
    stranger.expect_accessible()
    stranger.shoot("login-refused")
    stranger.give("admin", ADMIN_PASSWORD)
    expect(page).to_have_url(f"{stranger.platform.url}/admin/audit?outcome=refused")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_login_never_leads_to_another_site(stranger: Visit, elsewhere: str) -> None:
    stranger.context.clear_cookies()
    stranger.page.goto("/admin/login")
    stranger.page.locator("[name=next]").evaluate("(field, value) => { field.value = value }", elsewhere)
    stranger.give("admin", ADMIN_PASSWORD)
    expect(stranger.page).to_have_url(f"{stranger.platform.url}/admin/jobs")


def test_without_jobs_the_console_says_how_to_begin(admin: Visit) -> None:
    page = admin.page
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    expect(page.locator("code", has_text="jobplane")).to_have_text("./jobplane enqueue image.thumbnail photo.jpg")
    admin.expect_accessible()
    admin.shoot("jobs-empty")


def test_uploaded_pictures_become_thumbnails_and_broken_ones_readable_errors(admin: Visit, tmp_path: Path) -> None:
    page = admin.page
    good, bad = tmp_path / "photo.jpg", tmp_path / "letter.jpg"
    Image.linear_gradient("L").resize((640, 400)).save(good)
    bad.write_text("Dear reader, I am not a picture.")
    page.get_by_role("button", name="Add pictures").first.click()
    page.get_by_label("Pictures", exact=True).set_input_files([good, bad])
    admin.shoot("upload")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#upload-state")).to_have_text("2 of 2 pictures became jobs.")
    expect(page.get_by_role("dialog")).to_have_count(0)

    rows = page.locator("#jobs tbody tr")
    expect(rows.filter(has_text="Completed")).to_have_count(1)
    expect(rows.filter(has_text="Failed")).to_have_count(1)
    expect(rows.filter(has_text="Failed")).to_contain_text("picture")
    picture = rows.filter(has_text="Completed").locator("img.thumb")
    expect(picture).to_have_js_property("complete", value=True)
    assert picture.evaluate("image => image.naturalWidth") > 0
    admin.shoot("jobs-thumbnails")

    rows.filter(has_text="Completed").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("image.thumbnail")
    expect(page.get_by_alt_text(re.compile("^Thumbnail"))).to_be_visible()
    expect(page.locator("pre[aria-label=Result]")).to_contain_text('"width"')
    expect(page.locator(".timeline > li")).to_have_count(3)
    expect(page.locator(".timeline")).to_contain_text("admin")
    admin.expect_accessible()
    admin.shoot("job-completed")
