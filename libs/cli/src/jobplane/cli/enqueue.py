"""`jobplane enqueue`: files or payloads become jobs."""

import json
import mimetypes
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from jobplane.cli import output
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import Common

KindArgument = Annotated[
    str, typer.Argument(metavar="KIND", help="What to do, e.g. image.thumbnail.", show_default=False)
]
FilesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE", help="Files to work on: each is uploaded and becomes one job.")
]
PayloadOption = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="JSON object for the worker, or @FILE.")
]


def enqueue(
    common: Common,
    kind: KindArgument,
    files: FilesArgument = None,
    payload: PayloadOption = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Queue; `default` if none is named.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher runs first.")] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, help="Attempts before it is FAILED.")
    ] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="Limit of one run.")] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", metavar="INSTANT", help="Not before, ISO 8601 with zone.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Word to find it by; may be repeated.")] = None,
    unique_key: Annotated[
        str | None, typer.Option("--unique-key", help="At most one waiting or running job has it.")
    ] = None,
) -> None:
    """Create one job, or one for each file.

    Examples:

        jobplane enqueue image.thumbnail photo.jpg

        jobplane enqueue report.monthly --payload '{"month": "2026-11"}' --queue slow --max-attempts 3
    """
    wanted: dict[str, Any] = {
        "kind": kind,
        "payload": payload_of(payload),
        "queue": queue,
        "priority": priority,
        "max_attempts": max_attempts,
        "timeout_s": timeout_s,
        "run_at": run_at,
        "tags": tag or None,
        "unique_key": unique_key,
    }
    body = {name: value for name, value in wanted.items() if value is not None}
    missing = [str(file) for file in files or [] if not file.is_file()]
    if missing:
        message = f"There is no such file: {', '.join(missing)}"
        raise Failed(message, Exit.USAGE)
    with common.client() as client:
        work: list[Path | None] = list(files) if files else [None]
        jobs = [create(client, body, file) for file in work]
    if common.as_json:
        output.as_json(jobs)
    else:
        rows = [_row(job, file) for job, file in zip(jobs, work, strict=True)]
        output.table(["JOB", "KIND", "QUEUE", "STATUS", "FILE"], rows)


def create(client: Client, body: dict[str, Any], file: Path | None) -> dict[str, Any]:
    """Upload the file, if there is one, and create the job."""
    if file is not None:
        body = body | {"asset": upload(client, file)}
    job: dict[str, Any] = client.post("/jobs", body, headers={"Idempotency-Key": str(uuid.uuid4())})
    return job


def upload(client: Client, file: Path) -> str:
    """Upload one file; returns the asset's id."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    with file.open("rb") as content:
        asset = client.post("/assets", files={"file": (file.name, content, kind)})
    return str(asset["id"])


def payload_of(text: str | None) -> dict[str, Any]:
    """The object that `--payload` names. Raises Failed if it is none."""
    if text is None:
        return {}
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        message = f"--payload {text} cannot be read: {error.strerror}."
        raise Failed(message, Exit.USAGE) from error
    except ValueError as error:
        message = f"--payload is not JSON: {error}"
        raise Failed(message, Exit.USAGE) from error
    if not isinstance(value, dict):
        message = "--payload must be a JSON object, like '{\"width\": 320}'."
        raise Failed(message, Exit.USAGE)
    return value


def _row(job: dict[str, Any], file: Path | None) -> list[str]:
    if "id" not in job:  # 202: accepted, the outcome comes later
        return [f"accepted as command {job.get('command_id')}", "", "", "", str(file or "")]
    return [job["id"], job["kind"], job["queue"], job["status"], str(file or "")]
