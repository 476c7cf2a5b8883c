"""Pictures read and written with Pillow: bytes in, bytes or facts out, and a sentence where a file is wrong."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from PIL import ExifTags, Image, UnidentifiedImageError

from jobplane.contracts.message import Message
from jobplane.images.memory import BYTES_PER_PIXEL, Memory
from jobplane.worker import Fatal

Format = Literal["jpeg", "png", "webp", "avif"]
READABLE: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""No others: some of Pillow's readers start programs, or are seldom looked after."""
THUMBNAIL_QUALITY: Final = 80
_MAX_ICC_BYTES: Final = 64 * 1024
_MAX_EXIF_CHARS: Final = 100
_EXIF_TIME: Final = "%Y:%m:%d %H:%M:%S"
_TURNED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation, and how to set such a picture upright; from 5 on it lies on its side."""
_ON_ITS_SIDE: Final = 5
_SHRINKS_AS_IT_IS: Final = ("RGB", "RGBA", "L", "CMYK", "YCbCr")
"""Of these, reading can stop at a fraction of the detail; palettes and deep greys must become plain first."""
_MEMORY: Final = Memory()


class EmptyFile(Fatal):
    """The file has no bytes."""


class NotAPicture(Fatal):
    """The file is something else, or a kind of picture that is not read."""


class DamagedPicture(Fatal):
    """The file starts like a picture, but cannot be read to its end."""


class PictureTooLarge(Fatal):
    """Reading it would take too much memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken on."""

    max_pixels: int
    """Of one picture."""
    memory_bytes: int
    """Of all pictures that are worked on at the same time."""


class PictureFacts(Message):
    """What a picture file tells about itself; where it was taken is not among it."""

    format: str
    """E.g. ``JPEG``."""
    width: int
    """In pixels, as it is seen: turned as its orientation says."""
    height: int
    """In pixels, as it is seen."""
    mode: str
    """Pillow's name of the pixel format, e.g. ``RGB``."""
    animated: bool
    """Whether it has more than one frame."""
    has_alpha: bool
    """Whether parts may be transparent."""
    size_bytes: int
    """Size of the file."""
    camera_make: str | None
    """Who built the camera."""
    camera_model: str | None
    """Which camera."""
    taken_at: str | None
    """Local time of the camera, ISO 8601 without a zone."""
    has_location: bool
    """Whether it says where it was taken; the place itself is not told."""


class Picture(Message):
    """An encoded picture."""

    data: bytes
    width: int
    height: int


def facts(data: bytes, *, limits: Limits) -> PictureFacts:
    """What the file tells; it is read to its end, so that a damaged one is noticed.

    Raises:
        Fatal: the file is empty, not a picture, damaged or too large.
    """
    with _opened(data, limits) as image:
        exif = _exif(image)
        details = exif.get_ifd(ExifTags.IFD.Exif)
        width, height = image.size
        if _orientation(image) >= _ON_ITS_SIDE:
            width, height = height, width
        found = PictureFacts(
            format=image.format or "?",
            width=width,
            height=height,
            mode=image.mode,
            animated=bool(getattr(image, "is_animated", False)),
            has_alpha=image.has_transparency_data,
            size_bytes=len(data),
            camera_make=_text(exif.get(ExifTags.Base.Make)),
            camera_model=_text(exif.get(ExifTags.Base.Model)),
            taken_at=_time(details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)),
            has_location=bool(exif.get_ifd(ExifTags.IFD.GPSInfo)),
        )
        image.draft("RGB", (max(1, width // 8), max(1, height // 8)))  # reads a JPEG to its end, in little detail
        image.load()
    return found


def thumbnail(data: bytes, side: int, *, limits: Limits) -> Picture:
    """A WebP picture that fits into a square, upright, without metadata; a smaller picture keeps its size.

    Raises:
        Fatal: the file is empty, not a picture, damaged or too large.
    """
    with _opened(data, limits) as image:
        return _encoded(_fitted(image, side), "webp", THUMBNAIL_QUALITY)


def convert(data: bytes, picture_format: Format, *, quality: int, max_side: int | None, limits: Limits) -> Picture:
    """The picture in another format, upright, without metadata, at most `max_side`; of an animation the first frame.

    Raises:
        Fatal: the file is empty, not a picture, damaged or too large.
    """
    with _opened(data, limits) as image:
        return _encoded(_upright(image) if max_side is None else _fitted(image, max_side), picture_format, quality)


@contextlib.contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The picture in the file; Pillow's many ways to fail become one of ours."""
    if not data:
        raise EmptyFile("the file is empty")
    kind = "picture"
    try:
        with Image.open(io.BytesIO(data), formats=READABLE) as image:
            kind = f"{image.format} picture"
            with _MEMORY.share(_needed(image, limits), of=limits.memory_bytes):
                yield image
    except (Fatal, MemoryError):
        raise
    except UnidentifiedImageError:
        raise NotAPicture(f"the file is not a picture of a kind that is read ({', '.join(READABLE)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(f"the picture is too large: {error}") from None
    except Exception as error:
        raise DamagedPicture(f"the file is a {kind}, but damaged: {str(error) or type(error).__name__}") from error


def _needed(image: Image.Image, limits: Limits) -> int:
    """Bytes of memory that working on the picture may take, estimated before anything is decoded."""
    width, height = image.size
    most = min(limits.max_pixels, limits.memory_bytes // BYTES_PER_PIXEL)
    if width * height > most:
        raise PictureTooLarge(f"the picture has {width:,} x {height:,} pixels, more than {most:,} are not read")
    return width * height * BYTES_PER_PIXEL


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Made smaller to fit into a square, and upright."""
    small = image if image.mode in _SHRINKS_AS_IT_IS else _upright(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _upright(small) if small is image else small


def _upright(image: Image.Image) -> Image.Image:
    """As it is seen, in RGB or RGBA; colour profile kept where it still fits, all other metadata dropped."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "L") else None
    turn = _TURNED.get(_orientation(image))
    turned = image if turn is None else image.transpose(turn)
    if turned.mode.startswith("I"):  # 16 bits of grey: a plain conversion would only cut them off
        turned = turned.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    plain = turned.convert("RGBA" if turned.has_transparency_data else "RGB")
    plain.info = {"icc_profile": profile} if profile and len(profile) <= _MAX_ICC_BYTES else {}
    return plain


def _encoded(image: Image.Image, picture_format: Format, quality: int) -> Picture:
    profile = image.info.get("icc_profile")
    if picture_format == "jpeg" and image.mode == "RGBA":
        image = _on_white(image)
    options: dict[str, Any] = {"optimize": True} if picture_format == "png" else {"quality": quality}
    if profile:
        options["icc_profile"] = profile
    target = io.BytesIO()
    image.save(target, picture_format.upper(), **options)
    return Picture(data=target.getvalue(), width=image.width, height=image.height)


def _on_white(image: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    return paper.convert("RGB")


def _exif(image: Image.Image) -> Image.Exif:
    """What the camera wrote; nothing where that is damaged, which does not spoil the picture."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 - readers of broken metadata raise nearly everything
        return Image.Exif()


def _orientation(image: Image.Image) -> int:
    found = _exif(image).get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) else 1


def _text(value: object) -> str | None:
    """Text of a camera, which may be anything."""
    if not isinstance(value, str):
        return None
    return "".join(letter for letter in value if letter.isprintable()).strip()[:_MAX_EXIF_CHARS] or None


def _time(value: object) -> str | None:
    try:
        return datetime.strptime(str(value).strip("\x00 "), _EXIF_TIME).isoformat()  # noqa: DTZ007 - cameras know no zone
    except ValueError:
        return None
