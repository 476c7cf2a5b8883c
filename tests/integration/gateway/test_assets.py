"""Uploads: kept, told apart, and handed out so that no browser runs them."""

import io

import httpx2
import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts import assets as keys
from jobplane.contracts.commands import CreateJob
from jobplane.gateway import assets
from tests.integration.gateway.conftest import Running, code_of

ASSETS = "/api/admin/assets"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer()


async def test_an_uploaded_picture_comes_back(gateway: Running, admin: httpx2.AsyncClient) -> None:
    answer = await admin.post(ASSETS, files={"file": ("ho\u0308liday.png", PNG, "text/html")})
    assert answer.status_code == 201
    asset = answer.json()
    assert answer.headers["location"] == asset["url"] == f"{ASSETS}/{asset['id']}"
    assert asset["thumbnail_url"] == f"{asset['url']}/thumbnail"
    assert (asset["name"], asset["content_type"], asset["size_bytes"]) == ("h\u00f6liday.png", "image/png", len(PNG))
    content = await admin.get(asset["url"])
    assert content.content == PNG
    assert content.headers["content-type"] == "image/png"
    assert content.headers["content-disposition"].startswith("inline")
    [event] = await gateway.recorded("asset.uploaded.v1")
    assert (event["stream_id"], event["size_bytes"]) == (asset["id"], len(PNG))


@pytest.mark.parametrize(
    "content", [b"<script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", b"%PDF-1.7"]
)
async def test_what_is_no_picture_is_only_downloaded(admin: httpx2.AsyncClient, content: bytes) -> None:
    asset = (await admin.post(ASSETS, files={"file": ("x.png", content, "image/png")})).json()
    answer = await admin.get(asset["url"])
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_thumbnail_is_there_once_a_worker_made_it(gateway: Running, admin: httpx2.AsyncClient) -> None:
    asset = (await admin.post(ASSETS, files={"file": ("x.png", PNG)})).json()
    answer = await admin.get(asset["thumbnail_url"])
    assert answer.status_code == 404
    assert code_of(answer) == "thumbnail_not_found"
    await gateway.gateway.store.put(keys.thumbnail(asset["id"]), b"RIFF\0\0\0\0WEBPVP8 ")
    answer = await admin.get(asset["thumbnail_url"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"


async def test_a_job_works_on_an_uploaded_file_only(gateway: Running, admin: httpx2.AsyncClient) -> None:
    asset = (await admin.post(ASSETS, files={"file": ("x.png", PNG)})).json()
    made = await admin.post("/api/admin/jobs", json={"kind": "image.thumbnail", "payload": {}, "asset": asset["id"]})
    assert made.status_code == 201
    command = gateway.jobs.commands[0].command
    assert isinstance(command, CreateJob)
    assert command.asset == asset["id"]
    for unknown in (new_id(), "../../etc/passwd", "http://x/"):
        answer = await admin.post("/api/admin/jobs", json={"kind": "x", "payload": {}, "asset": unknown})
        assert answer.status_code == 422
    assert len(gateway.jobs.commands) == 1


async def test_an_unknown_file_is_not_found(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get(f"{ASSETS}/{new_id()}")
    assert answer.status_code == 404
    assert code_of(answer) == "asset_not_found"


async def test_a_file_that_is_too_large_is_refused(gateway: Running, admin: httpx2.AsyncClient) -> None:
    content = io.BytesIO(b"\0" * (assets.MOST_BYTES + 1))
    answer = await admin.post(ASSETS, files={"file": ("x", content)})
    assert answer.status_code == 413
    assert code_of(answer) == "payload_too_large"
    assert await gateway.recorded("asset.uploaded.v1") == []


async def test_a_large_file_is_kept(admin: httpx2.AsyncClient) -> None:
    content = PNG + b"\1" * (9 * 1024 * 1024)
    asset = (await admin.post(ASSETS, files={"file": ("x", content)})).json()
    assert asset["size_bytes"] == len(content)
    assert (await admin.get(asset["url"])).content == content


async def test_an_upload_without_a_file_is_refused(admin: httpx2.AsyncClient) -> None:
    assert (await admin.post(ASSETS, json={})).status_code == 415
    assert (await admin.post(ASSETS, files={"other": ("x", b"x")})).status_code == 422
    assert (await admin.post(ASSETS, data={"file": "text"}, files={"x": b""})).status_code in {400, 422}
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    assert (await admin.post(ASSETS, content=b"--b\r\nnonsense", headers=broken)).status_code in {400, 422}
    missing = {"Content-Type": "multipart/form-data"}
    assert (await admin.post(ASSETS, content=b"x", headers=missing)).status_code == 400
