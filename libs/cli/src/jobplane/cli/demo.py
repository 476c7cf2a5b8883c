"""What `up --demo` starts beside the platform: pictures become jobs, through the same door as any other client's."""

import os
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from jobplane.cli import demo_pictures, enqueue, target
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.contracts.errors import JobplaneError
from jobplane.local.data_dir import DataDirectory

_FORMATS: Final = ("webp", "png", "jpeg")


def main() -> None:
    """Read from the environment where; the last line written is the result."""
    data = Path(os.environ["JOBPLANE_DEMO_DATA"])
    folder = os.environ.get("JOBPLANE_DEMO_FOLDER")
    try:
        pictures = demo_pictures.of_folder(Path(folder)) if folder else demo_pictures.builtin(DataDirectory(data).demo)
        if not pictures:
            sys.exit(f"There are no pictures in {folder}.")
        with Client(target.find(data, None, None)) as client:
            result = _enqueue(client, pictures)
    except (JobplaneError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{result}\n")


def _enqueue(client: Client, pictures: list[Path]) -> str:
    """Everything that the platform takes; what it refuses (too large, say) does not stop the rest."""
    count = 0
    refused: list[str] = []
    for picture, form in zip(pictures, cycle(_FORMATS), strict=False):
        try:
            count += len(_jobs_for(client, picture, form))
        except Failed as error:
            if error.code == Exit.UNREACHABLE:
                raise
            refused.append(f"{picture.name}: {error}")
    left_out = f", {len(refused)} were refused ({refused[0]})" if refused else ""
    return f"{len(pictures) - len(refused)} pictures became {count} jobs{left_out}"


def _jobs_for(client: Client, picture: Path, form: str) -> list[dict[str, Any]]:
    """One upload, three jobs."""
    asset = enqueue.upload(client, picture)
    return [client.post("/jobs", body | {"asset": asset, "tags": ["demo"]}) for body in _work(form)]


def _work(form: str) -> Iterator[dict[str, Any]]:
    yield {"kind": "image.metadata", "payload": {}}
    yield {"kind": "image.thumbnail", "payload": {}}
    yield {"kind": "image.convert", "payload": {"format": form}}
