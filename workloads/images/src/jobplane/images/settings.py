"""What the image handlers are told."""

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB: Final = 1024 * 1024
_PILLOWS_LIMIT: Final = 178_956_970


class ImageSettings(BaseSettings):
    """Variables carry the prefix ``JOBPLANE_``."""

    model_config = SettingsConfigDict(
        env_prefix="JOBPLANE_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    object_store_url: str
    """Where the files are: ``file:///directory`` or a bucket."""
    images_max_bytes: int = Field(default=64 * MIB, ge=1)
    """Larger files are not read."""
    images_max_pixels: int = Field(default=32_000_000, ge=1, le=_PILLOWS_LIMIT)
    """Pictures with more pixels are not read: each takes up to 16 bytes of memory."""
    images_memory_bytes: int = Field(default=512 * MIB, ge=MIB)
    """What decoded pictures may take together; others wait, and a picture that alone takes more is not read."""
