from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobplane.chassis.object_store import ObjectStore, is_key
from jobplane.contracts.errors import Refused


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path}/with%20space")


async def test_what_is_put_can_be_read(store: ObjectStore) -> None:
    assert await store.put("assets/1.jpg", b"picture") == 7
    assert await store.get("assets/1.jpg") == b"picture"
    assert (await store.head("assets/1.jpg")).size_bytes == 7


async def test_a_stream_is_stored_whole_and_counted(store: ObjectStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * 1024 * 1024

    assert await store.put("big", chunks()) == 12 * 1024 * 1024
    assert (await store.head("big")).size_bytes == 12 * 1024 * 1024


async def test_a_broken_stream_stores_nothing(store: ObjectStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 6 * 1024 * 1024
        raise RuntimeError("the caller went away")

    with pytest.raises(Exception, match="went away"):
        await store.put("half", chunks())
    with pytest.raises(Refused) as refused:
        await store.head("half")
    assert refused.value.code == "asset_not_found"


async def test_putting_again_replaces(store: ObjectStore) -> None:
    await store.put("a", b"1")
    await store.put("a", b"22")
    assert await store.get("a") == b"22"


async def test_an_absent_key_is_refused(store: ObjectStore) -> None:
    with pytest.raises(Refused) as refused:
        await store.get("none")
    assert refused.value.code == "asset_not_found"


async def test_deleting_is_idempotent(store: ObjectStore) -> None:
    await store.put("a", b"1")
    await store.delete("a")
    await store.delete("a")
    with pytest.raises(Refused):
        await store.get("a")


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "../a", "a/../b", "a//b", ".a", "a b", "ä", "a\n", "http://x/y", "a" * 600]
)
async def test_a_key_is_never_a_path_or_url(store: ObjectStore, key: str) -> None:
    assert not is_key(key)
    with pytest.raises(Refused) as refused:
        await store.put(key, b"")
    assert refused.value.code == "invalid_key"


@pytest.mark.parametrize("key", ["a", "assets/0192-abc.webp", "a/b/c_d.E"])
def test_words_and_slashes_are_a_key(key: str) -> None:
    assert is_key(key)
