"""The image jobs: from the uploaded file to what is stored beside it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobplane.chassis.ids import new_id
from jobplane.chassis.object_store import ObjectStore
from jobplane.contracts import assets
from jobplane.contracts.errors import InvalidMessage, Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import LeasedJob
from jobplane.images import workload
from jobplane.images.memory import BYTES_PER_PIXEL
from jobplane.images.pictures import NotAPicture, PictureTooLarge
from jobplane.images.workload import ConvertPayload, MetadataPayload, NoAsset, ThumbnailPayload
from jobplane.worker import Context
from jobplane.worker.threads import Threads
from tests.unit.images.files import opened, photograph


def context(asset: str | None) -> Context:
    job = LeasedJob(
        job=JobId(new_id()),
        kind="image.thumbnail",
        queue="default",
        run=1,
        attempt=1,
        max_attempts=5,
        token="0" * 32,
        asset=asset,
        lease_ends_at=datetime.now(UTC),
        traceparent="",
    )
    return Context(job, Threads(1))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    monkeypatch.setenv("JOBPLANE_OBJECT_STORE_URL", f"file://{tmp_path}")
    workload._shelf.cache_clear()
    yield ObjectStore(f"file://{tmp_path}")
    workload._shelf.cache_clear()


async def test_a_thumbnail_is_stored_beside_the_original(store: ObjectStore) -> None:
    asset = new_id()
    await store.put(assets.original(asset), photograph(6))
    made = await workload.thumbnail(context(asset), ThumbnailPayload(side=30))
    data = await store.get(assets.thumbnail(asset))
    assert made.model_dump() == {"key": f"thumbnails/{asset}.webp", "width": 20, "height": 30, "size_bytes": len(data)}
    assert opened(data).size == (20, 30)


async def test_a_converted_picture_is_stored_under_its_format(store: ObjectStore) -> None:
    asset = new_id()
    await store.put(assets.original(asset), photograph())
    made = await workload.convert(context(asset), ConvertPayload(format="png"))
    assert made.key == f"converted/{asset}.png"
    assert opened(await store.get(made.key)).format == "PNG"


async def test_the_metadata_is_the_answer(store: ObjectStore) -> None:
    asset = new_id()
    await store.put(assets.original(asset), photograph())
    found = await workload.metadata(context(asset), MetadataPayload())
    assert (found.camera_model, found.has_location) == ("M3", True)


async def test_a_file_that_is_no_picture_fails_for_good(store: ObjectStore) -> None:
    asset = new_id()
    await store.put(assets.original(asset), b"hello")
    with pytest.raises(NotAPicture):
        await workload.thumbnail(context(asset), ThumbnailPayload())


@pytest.mark.parametrize("asset", [None, "missing", "../../etc/passwd", "a/b", ""])
async def test_a_job_without_its_file_fails_for_good(store: ObjectStore, asset: str | None) -> None:
    await store.put("other", b"x")
    with pytest.raises(NoAsset):
        await workload.thumbnail(context(asset), ThumbnailPayload())


async def test_a_file_of_too_many_bytes_is_not_read(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBPLANE_IMAGES_MAX_BYTES", "100")
    await store.put(assets.original("a1"), photograph())
    with pytest.raises(PictureTooLarge, match="more than 100 are not read"):
        await workload.metadata(context("a1"), MetadataPayload())


async def test_a_worker_without_a_store_says_so_and_the_job_may_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBPLANE_OBJECT_STORE_URL", raising=False)
    workload._shelf.cache_clear()
    with pytest.raises(Unavailable, match="JOBPLANE_OBJECT_STORE_URL is missing or wrong"):
        await workload.metadata(context("a1"), MetadataPayload())


@pytest.mark.parametrize("strange", ["", ".", "..", "a/b", "/a", "a\n", "-a", "ä", "a.b", "x" * 101])
def test_only_an_asset_id_makes_a_key(strange: str) -> None:
    for key in (assets.original, assets.thumbnail):
        with pytest.raises(InvalidMessage):
            key(strange)
    with pytest.raises(InvalidMessage):
        assets.converted("a1", f"png{strange}/")


def test_the_largest_picture_fits_into_memory_unless_told_otherwise(store: ObjectStore) -> None:
    limits = workload._shelf().limits
    assert limits.max_pixels * BYTES_PER_PIXEL <= limits.memory_bytes
