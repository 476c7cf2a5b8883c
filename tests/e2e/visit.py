"""One person's visit to the console: a browser window, what it complained about, and how it looks."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, StorageState, expect

from tests.support.platform import ADMIN_PASSWORD, Platform

CHROMIUM: Final = os.environ.get("JOBPLANE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE: Final = (1280, 900)
NARROW: Final = (360, 780)
PATIENCE_MS: Final = 15_000
SHOTS: Final = Path("test-results") / "e2e"
_AXE: Final = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
_STANDARDS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_ANSWERED: Final = "Failed to load resource"
"""The browser's note about an answer with an error status; whether that was right is what a test checks."""

Scheme = Literal["light", "dark"]


class Visit:
    """A window with nothing remembered; as a context manager it fails on errors of pages and scripts."""

    page: Page

    def __init__(
        self,
        browser: Browser,
        platform: Platform,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        session: StorageState | None = None,
    ) -> None:
        self._browser = browser
        self.platform = platform
        self._size = size
        self._scheme: Scheme = scheme
        self._session = session
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        self.context: BrowserContext = self._browser.new_context(
            base_url=self.platform.url,
            viewport={"width": self._size[0], "height": self._size[1]},
            color_scheme=self._scheme,
            reduced_motion="reduce",
            storage_state=self._session,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", self._threw)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.close()
        if error is None:
            assert not self.complaints, self.complaints

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and _ANSWERED not in message.text:
            self.complaints.append(message.text)

    def _threw(self, error: Error) -> None:
        self.complaints.append(str(error))

    def log_in(self, username: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        """Through the form, until the first screen is live."""
        self.page.goto("/admin/login")
        self.give(username, password)
        expect(self.page).to_have_url(f"{self.platform.url}/admin/jobs")
        self.expect_live()

    def give(self, username: str, password: str) -> None:
        """Fill in the login form and send it."""
        self.page.get_by_label("Name").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def expect_live(self) -> None:
        """The light in the header is on."""
        expect(self.page.locator("#live")).to_have_attribute("data-state", "live")

    def row(self, job_id: str) -> Locator:
        """A job's row in the list."""
        return self.page.locator(f"#job-{job_id}")

    def toast(self, words: str) -> Locator:
        """A notice in the corner."""
        return self.page.locator(".toast").filter(has_text=words)

    def expect_status(self, job_id: str, status: str) -> None:
        """The row of a job shows that status."""
        expect(self.row(job_id).locator(".status")).to_have_text(status)

    def shoot(self, name: str) -> None:
        """Keep a picture of the whole page under `test-results/e2e`."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def expect_accessible(self) -> None:
        """Axe finds nothing against WCAG 2.2 AA or good practice, and nothing sticks out sideways."""
        # Evaluated by the debugger, not by a script tag: the page's security policy stays in force.
        self.context.new_cdp_session(self.page).send("Runtime.evaluate", {"expression": _AXE})
        report: dict[str, Any] = self.page.evaluate("standards => axe.run(document, {runOnly: standards})", _STANDARDS)
        found = [(rule["id"], rule["impact"], rule["nodes"][0]["html"][:200]) for rule in report["violations"]]
        assert not found, found
        wider = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{wider} px stick out"
