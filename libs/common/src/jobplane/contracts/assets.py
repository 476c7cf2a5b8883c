"""Where uploaded files and what was made of them lie in the object store: keys from asset ids, never paths."""

import re
from typing import Final

from jobplane.contracts.errors import InvalidMessage

ASSET_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"
"""What an asset id looks like (UUIDv7 where the gateway chose it): one segment, so no key can leave its folder."""
_ASSET = re.compile(ASSET_PATTERN)
_FORMAT = re.compile(r"^[a-z0-9]{1,10}$")


def original(asset_id: str) -> str:
    """The file as it was uploaded.

    Raises:
        InvalidMessage: that is not an asset id.
    """
    return f"originals/{_checked(asset_id)}"


def thumbnail(asset_id: str) -> str:
    """Its small WebP picture, once a job `image.thumbnail` made it.

    Raises:
        InvalidMessage: that is not an asset id.
    """
    return f"thumbnails/{_checked(asset_id)}.webp"


def converted(asset_id: str, picture_format: str) -> str:
    """The same picture in another format (``png``, ``webp``, …), once a job `image.convert` made it.

    Raises:
        InvalidMessage: that is not an asset id, or not a format.
    """
    if _FORMAT.fullmatch(picture_format) is None:
        raise InvalidMessage(f"{picture_format!r} is not the name of a format")
    return f"converted/{_checked(asset_id)}.{picture_format}"


def _checked(asset_id: str) -> str:
    if _ASSET.fullmatch(asset_id) is None:
        raise InvalidMessage(f"{asset_id!r} is not an asset id")
    return asset_id
