"""Sessions, tokens, and everything that must not get in."""

from pathlib import Path

import httpx2
import pytest

from jobplane.contracts.actors import ActorKind, Role, system
from jobplane.contracts.errors import Refused
from jobplane.gateway import accounts
from jobplane.gateway.sessions import TOKEN_PREFIX
from tests.integration.gateway.conftest import ADMIN_PASSWORD, Running, code_of, running
from tests.support.servers import Bus, Database

SESSION, TOKEN = "/api/admin/session", "/api/admin/token"
ADMIN = {"username": "admin", "password": ADMIN_PASSWORD}


async def test_a_session_lives_in_a_cookie_that_scripts_cannot_read(gateway: Running) -> None:
    browser = gateway.client()
    answer = await browser.post(SESSION, json=ADMIN)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("jobplane_session=")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert answer.json()["role"] == "SUPERADMIN"
    assert answer.json()["kind"] == "user"
    assert answer.cookies["jobplane_session"] not in answer.text
    me = await browser.get(SESSION)
    assert me.json()["name"] == "admin"
    [login] = await gateway.recorded("login.succeeded.v1")
    assert login["credential"] == "session"
    assert login["actor"].id == me.json()["id"] == login["stream_id"]


async def test_a_token_is_a_bearer_and_ends_when_told(gateway: Running) -> None:
    client = gateway.client()
    token = (await client.post(TOKEN, json=ADMIN)).json()["token"]
    assert token.startswith(TOKEN_PREFIX)
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client.get(SESSION, headers=bearer)).json()["kind"] == "token"
    assert (await client.delete(TOKEN, headers=bearer)).status_code == 204
    assert (await client.get(SESSION, headers=bearer)).status_code == 401
    assert [event["actor"].kind for event in await gateway.recorded("login.ended.v1")] == [ActorKind.TOKEN]


async def test_a_logout_ends_the_session(gateway: Running) -> None:
    browser = gateway.client()
    await browser.post(SESSION, json=ADMIN)
    secret = browser.cookies["jobplane_session"]
    assert (await browser.delete(SESSION)).status_code == 204
    assert "jobplane_session" not in browser.cookies
    again = gateway.client(cookies={"jobplane_session": secret})
    assert (await again.get(SESSION)).status_code == 401


async def test_a_new_login_replaces_the_session_of_this_browser(gateway: Running) -> None:
    browser = gateway.client()
    await browser.post(SESSION, json=ADMIN)
    old = browser.cookies["jobplane_session"]
    await browser.post(SESSION, json=ADMIN)
    assert browser.cookies["jobplane_session"] != old
    assert (await gateway.client(cookies={"jobplane_session": old}).get(SESSION)).status_code == 401


async def test_only_hashes_of_secrets_are_kept(gateway: Running) -> None:
    token = (await gateway.client().post(TOKEN, json=ADMIN)).json()["token"]
    async with gateway.pool.connection() as conn:
        rows = await (await conn.execute("SELECT row_to_json(t)::text FROM token t")).fetchall()
        events = await (await conn.execute("SELECT row_to_json(e)::text FROM event e")).fetchall()
    assert len(rows) == 1
    assert not [row for row in rows + events if token in row[0] or ADMIN_PASSWORD in row[0]]


async def test_a_session_is_no_bearer_and_a_bearer_no_session(gateway: Running) -> None:
    client = gateway.client()
    token = (await client.post(TOKEN, json=ADMIN)).json()["token"]
    await client.post(SESSION, json=ADMIN)
    secret = client.cookies["jobplane_session"]
    assert (await gateway.client(cookies={"jobplane_session": token}).get(SESSION)).status_code == 401
    stranger = gateway.client(headers={"Authorization": f"Bearer {secret}"})
    assert (await stranger.get(SESSION)).status_code == 401


@pytest.mark.parametrize("value", ["Bearer", "Bearer x", "Basic YTpi", "jp_x", "Bearer jp_" + "x" * 5000])
async def test_an_authorization_that_is_no_good_is_not_replaced_by_a_cookie(gateway: Running, value: str) -> None:
    browser = await gateway.browser()
    assert (await browser.get(SESSION)).status_code == 200
    answer = await browser.get(SESSION, headers={"Authorization": value})
    assert code_of(answer) == "unauthenticated"


@pytest.mark.parametrize(
    "body",
    [
        {"username": "admin", "password": "wrong"},
        {"username": "nobody", "password": ADMIN_PASSWORD},
        {"username": "admin\u0000", "password": "x"},
    ],
)
async def test_a_failed_login_says_no_more_than_that(gateway: Running, body: dict[str, str]) -> None:
    answer = await gateway.client().post(SESSION, json=body)
    assert answer.status_code in {401, 422}
    assert "set-cookie" not in answer.headers
    if answer.status_code == 401:
        assert code_of(answer) == "invalid_credentials"
        [failure] = await gateway.recorded("login.failed.v1")
        assert failure["actor"].id == "anonymous"
        admin = await gateway.gateway.accounts.by_name("admin")
        assert admin is not None
        assert failure.get("account_id") == (admin.id if body["username"] == "admin" else None)
        assert not await gateway.recorded("command.refused.v1")


async def test_names_differ_neither_by_case_nor_by_space(gateway: Running) -> None:
    answer = await gateway.client().post(SESSION, json=ADMIN | {"username": " Admin "})
    assert answer.status_code == 200


async def test_guessing_is_stopped_for_a_while_and_a_success_forgives(gateway: Running) -> None:
    client, wrong = gateway.client(), ADMIN | {"password": "wrong"}
    attempts = gateway.gateway.settings.login_attempts
    for _ in range(attempts - 1):
        assert (await client.post(SESSION, json=wrong)).status_code == 401
    assert (await client.post(SESSION, json=ADMIN)).status_code == 200
    for _ in range(attempts):
        assert (await client.post(SESSION, json=wrong)).status_code == 401
    answer = await client.post(SESSION, json=ADMIN)
    assert answer.status_code == 429
    assert code_of(answer) == "rate_limited"
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert (await gateway.recorded("login.failed.v1"))[-1]["code"] == "rate_limited"


async def test_alike_failures_are_summed_up(gateway: Running) -> None:
    client, wrong = gateway.client(), {"username": "x", "password": "wrong"}
    for number in range(25):
        await client.post(SESSION, json=wrong | {"username": f"x{number}"})
    assert len(await gateway.recorded("login.failed.v1")) == 20
    assert await gateway.gateway.log.sum_up(everything=True) == 1
    assert (await gateway.recorded("login.failed.v1"))[-1]["count"] == 5


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_what_another_site_makes_a_browser_send_is_refused(gateway: Running, headers: dict[str, str]) -> None:
    browser = await gateway.browser()
    answer = await browser.delete(SESSION, headers=headers)
    assert answer.status_code == 403
    assert code_of(answer) == "cross_site"
    assert (await browser.post(SESSION, json=ADMIN, headers=headers)).status_code == 403
    assert {refusal["code"] for refusal in await gateway.recorded("command.refused.v1")} == {"cross_site"}
    assert (await browser.get(SESSION, headers=headers)).status_code == 200


async def test_our_own_pages_may_send(gateway: Running) -> None:
    browser = await gateway.browser(Role.ADMIN, origin=gateway.url)
    assert (await browser.post("/api/admin/jobs", json={"kind": "x", "payload": {}})).status_code == 201


async def test_a_bearer_needs_no_origin(gateway: Running) -> None:
    client = await gateway.bearer()
    headers = {"Origin": "https://ci.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/api/admin/jobs", json={"kind": "x", "payload": {}}, headers=headers)).is_success


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
async def test_names_that_are_not_ours_are_refused(gateway: Running, host: str) -> None:
    client = await gateway.bearer()
    answer = await client.get(SESSION, headers={"Host": host})
    assert answer.status_code in {400, 421}
    if answer.status_code == 421:
        assert code_of(answer) == "host_not_allowed"
    assert (await client.get("/healthz", headers={"Host": host or "x"})).status_code == 200


async def test_a_password_reset_ends_sessions_and_tokens(gateway: Running) -> None:
    browser, client = gateway.client(), gateway.client()
    await browser.post(SESSION, json=ADMIN)
    token = (await client.post(TOKEN, json=ADMIN)).json()["token"]
    await gateway.gateway.accounts.reset_password("admin", "another long one", actor=system("test"))
    gateway.gateway.sessions.forget()
    assert (await browser.get(SESSION)).status_code == 401
    assert (await client.get(SESSION, headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert (await browser.post(SESSION, json=ADMIN)).status_code == 401
    assert (await browser.post(SESSION, json=ADMIN | {"password": "another long one"})).status_code == 200
    [reset] = await gateway.recorded("user.password_reset.v1")
    assert reset["version"] == 4


async def test_the_command_line_can_reset_without_a_gateway(gateway: Running, database: Database) -> None:
    await accounts.reset_password(database.url("gateway"), "ADMIN", "another long one")
    answer = await gateway.client().post(SESSION, json=ADMIN | {"password": "another long one"})
    assert answer.status_code == 200
    [reset] = await gateway.recorded("user.password_reset.v1")
    assert reset["actor"].id == "command-line"


async def test_the_first_accounts_are_made_once(gateway: Running) -> None:
    await gateway.gateway.accounts.ensure_first("another", "local password")
    await gateway.gateway.accounts.ensure_first(None, "local password")
    await gateway.gateway.accounts.ensure_first(None, "changed password")
    assert [event["role"] for event in await gateway.recorded("user.created.v1")] == ["SUPERADMIN", "ADMIN"]
    assert len(await gateway.recorded("user.password_reset.v1")) == 1
    body = {"username": "local", "password": "changed password"}
    answer: httpx2.Response = await gateway.client().post(TOKEN, json=body)
    assert answer.status_code == 200


async def test_a_new_account_needs_a_password_as_long_as_a_new_password(gateway: Running) -> None:
    for password in ("seven77", "x" * 1025):
        with pytest.raises(Refused, match="8 to 1024"):
            await gateway.gateway.accounts.create("carol", Role.VIEWER, password, actor=system("test"))
    assert await gateway.gateway.accounts.by_name("carol") is None


async def test_over_https_browsers_themselves_guard_the_cookie(bus: Bus, database: Database, tmp_path: Path) -> None:
    async with running(bus, database, tmp_path, public_url="https://jobs.example.com") as gateway:
        client = gateway.client(headers={"Host": "jobs.example.com", "Origin": "https://jobs.example.com"})
        answer = await client.post(SESSION, json=ADMIN)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-jobplane_session=")
        assert "; Secure" in cookie
        assert "Domain" not in cookie
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        secret = cookie.partition("=")[2].partition(";")[0]
        headers = {"Cookie": f"__Host-jobplane_session={secret}"}
        assert (await client.get(SESSION, headers=headers)).status_code == 200
        assert (await client.get(SESSION, headers={"Cookie": f"jobplane_session={secret}"})).status_code == 401
