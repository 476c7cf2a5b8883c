"""Picture files for tests, good and bad."""

import io
import struct
import zlib
from typing import Any

from PIL import ExifTags, Image

from jobplane.images.pictures import Limits

LIMITS = Limits(max_pixels=1_000_000, memory_bytes=64_000_000)


def picture(width: int = 60, height: int = 40, mode: str = "RGB", kind: str = "JPEG", **options: Any) -> bytes:
    """A gradient, left half dark."""
    image = Image.linear_gradient("L").rotate(90).resize((width, height)).convert(mode)
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def photograph(orientation: int = 1) -> bytes:
    """As a camera writes it, with a place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Leica\x00\x07"
    exif[ExifTags.Base.Model] = "M3"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2019:07:14 10:20:30"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    return picture(exif=exif)


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes that says it is enormous."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def clear() -> bytes:
    """A PNG of which nothing is seen."""
    target = io.BytesIO()
    Image.new("RGBA", (60, 40), (200, 10, 10, 0)).save(target, "PNG")
    return target.getvalue()


def brightest_column(data: bytes) -> int:
    """Which column of the picture has the most light."""
    image = opened(data).convert("L")
    columns = image.resize((image.width, 1), Image.Resampling.BOX).tobytes()
    return columns.index(max(columns))


def opened(data: bytes) -> Image.Image:
    """What others will see in the file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
