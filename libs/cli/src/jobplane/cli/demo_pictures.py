"""The pictures of `up --demo`: real photographs that a package brings, and files that are broken in different ways."""

import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Final

from jobplane.cli.failures import Failed

LOCK: Final = Path(__file__).with_name("requirements-demo.lock")
# scikit-image's samples that are in the public domain or CC0: NASA, ESA, the Met, and their photographers' gifts.
PHOTOGRAPHS: Final = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "retina.jpg",
    "rocket.jpg",
)
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"})
_BOMB_SIDE: Final = 20_000


def of_folder(folder: Path) -> list[Path]:
    """The pictures of a person's folder and what lies below it, in order of their names."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def builtin(directory: Path) -> list[Path]:
    """Photographs and broken files under the data directory; fetched once."""
    packages = directory / "packages"
    samples = packages / "skimage" / "data"
    if not (samples / PHOTOGRAPHS[-1]).exists():
        _fetch(packages)
    pictures = directory / "pictures"
    pictures.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        shutil.copyfile(samples / name, pictures / name)
    return [*(pictures / name for name in PHOTOGRAPHS), *broken(pictures, samples / "rocket.jpg")]


def _fetch(target: Path) -> None:
    """Install the package beside the data, never into our own environment, and none of what it would import."""
    uv = Path(sys.executable).with_name("uv")
    locked = ["--quiet", "--no-deps", "--require-hashes", "--target", str(target), "--requirement", str(LOCK)]
    attempts = [[str(uv), "pip", "install", "--python", sys.executable], [sys.executable, "-m", "pip", "install"]]
    if not uv.exists():
        attempts = attempts[1:]
    said = ""
    for command in attempts:
        done = subprocess.run([*command, *locked], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    message = f"The demo pictures could not be fetched ({said}): name a folder of your own with --demo DIR."
    raise Failed(message)


def broken(directory: Path, photograph: Path) -> list[Path]:
    """Files that look like pictures and are none; every one fails with a readable error."""
    contents = {
        "truncated.jpg": photograph.read_bytes()[: photograph.stat().st_size // 3],
        "not-a-picture.jpg": b"Dear diary, today I was saved with the wrong ending.\n",
        "empty.png": b"",
        "bomb.png": _bomb(),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in contents]


def _bomb() -> bytes:
    """A few kilobytes that claim to be 400 million pixels, black and white."""
    row = bytes(1 + _BOMB_SIDE // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(_BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
