"""The jobs of this workload: `image.metadata`, `image.thumbnail` and `image.convert` of an uploaded file."""

import functools
from dataclasses import dataclass

from pydantic import Field, ValidationError

from jobplane.chassis.object_store import ObjectStore
from jobplane.contracts import assets
from jobplane.contracts.errors import InvalidMessage, Refused, Unavailable
from jobplane.contracts.message import Message
from jobplane.images import pictures
from jobplane.images.pictures import Format, Limits, PictureFacts, PictureTooLarge
from jobplane.images.settings import ImageSettings
from jobplane.worker import Context, Fatal, handler


class NoAsset(Fatal):
    """The job says on no file, or on one that is not there."""


class MetadataPayload(Message):
    """Nothing to choose."""


class ThumbnailPayload(Message):
    """How large."""

    side: int = Field(default=320, ge=16, le=2048)
    """The picture fits into a square of so many pixels."""


class ConvertPayload(Message):
    """Into what."""

    format: Format = "webp"
    """The new format."""
    quality: int = Field(default=85, ge=1, le=100)
    """Of formats that lose detail."""
    max_side: int | None = Field(default=None, ge=16, le=16384)
    """Made smaller to fit into a square of so many pixels."""


class Stored(Message):
    """A picture that was made."""

    key: str
    """Where it is in the object store."""
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The object store, and how much is read from it."""

    store: ObjectStore
    settings: ImageSettings

    @property
    def limits(self) -> Limits:
        """Of decoding."""
        return Limits(self.settings.images_max_pixels, self.settings.images_memory_bytes)

    async def original(self, ctx: Context) -> bytes:
        """The file of the job."""
        if ctx.asset is None:
            raise NoAsset("the job works on no file: create it with an asset")
        try:
            key = assets.original(ctx.asset)
            size = (await self.store.head(key)).size_bytes
            if size > self.settings.images_max_bytes:
                raise PictureTooLarge(
                    f"the file has {size:,} bytes, more than {self.settings.images_max_bytes:,} are not read"
                )
            return await self.store.get(key)
        except InvalidMessage as error:
            raise NoAsset(str(error)) from None
        except Refused as error:
            raise NoAsset(error.detail) from None

    async def keep(self, key: str, picture: pictures.Picture) -> Stored:
        """Store what was made; doing it again replaces it by the same."""
        await self.store.put(key, picture.data)
        return Stored(key=key, width=picture.width, height=picture.height, size_bytes=len(picture.data))


@functools.cache
def _shelf() -> _Shelf:
    try:
        settings = ImageSettings()
    except ValidationError as error:
        names = ", ".join(f"JOBPLANE_{str(problem['loc'][0]).upper()}" for problem in error.errors())
        raise Unavailable(f"this worker cannot work on pictures: {names} is missing or wrong") from None
    return _Shelf(ObjectStore(settings.object_store_url), settings)


@handler("image.metadata")
async def metadata(ctx: Context, _payload: MetadataPayload) -> PictureFacts:
    """What the picture tells about itself."""
    shelf = _shelf()
    data = await shelf.original(ctx)
    return await ctx.in_thread(pictures.facts, data, limits=shelf.limits)


@handler("image.thumbnail")
async def thumbnail(ctx: Context, payload: ThumbnailPayload) -> Stored:
    """A small picture beside the original, for lists."""
    shelf = _shelf()
    data = await shelf.original(ctx)
    ctx.progress(0.2)
    small = await ctx.in_thread(pictures.thumbnail, data, payload.side, limits=shelf.limits)
    ctx.progress(0.8)
    return await shelf.keep(assets.thumbnail(ctx.asset or ""), small)


@handler("image.convert")
async def convert(ctx: Context, payload: ConvertPayload) -> Stored:
    """The picture in another format, beside the original."""
    shelf = _shelf()
    data = await shelf.original(ctx)
    ctx.progress(0.2)
    made = await ctx.in_thread(
        pictures.convert,
        data,
        payload.format,
        quality=payload.quality,
        max_side=payload.max_side,
        limits=shelf.limits,
    )
    ctx.progress(0.8)
    return await shelf.keep(assets.converted(ctx.asset or "", payload.format), made)
