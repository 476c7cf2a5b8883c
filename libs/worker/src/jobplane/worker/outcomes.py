"""How a run's end is written down for the report: JSON text, made once."""

import traceback
from datetime import datetime
from typing import Final

from pydantic_core import PydanticSerializationError, to_json

from jobplane.contracts.jobs import MAX_MESSAGE_CHARS, MAX_RESULT_BYTES, MAX_STACK_CHARS
from jobplane.contracts.workers import LeasedJob, ReportedError
from jobplane.worker.errors import Fatal, InvalidPayload, InvalidResult, ResultTooLarge

_SPEAK_FOR_THEMSELVES: Final = (InvalidPayload, InvalidResult, ResultTooLarge)
_CUT: Final = "… cut …\n"
_MAX_TYPE_CHARS: Final = 200


def completed(job: LeasedJob, result: bytes) -> bytes:
    """The handler answered; `result` comes from `encode_result`."""
    return _start(job, "completed") + b',"result":' + result + b"}"


def failed(job: LeasedJob, error: BaseException) -> bytes:
    """The handler raised."""
    return _start(job, "failed") + b',"error":' + to_json(describe(error)) + b"}"


def cancelled(job: LeasedJob) -> bytes:
    """The run was stopped because the job is cancelled."""
    return _start(job, "cancelled") + b"}"


def released(job: LeasedJob) -> bytes:
    """The job is given back unfinished."""
    return _start(job, "released") + b"}"


def heard(outcome: bytes, at: datetime) -> bytes:
    """The same, and when the worker heard that the job is cancelled."""
    return outcome[:-1] + b',"stop_heard_at":' + to_json(at) + b"}"


def encode_result(value: object) -> bytes:
    """A handler's answer as JSON text; models, dataclasses, dates and the like become what pydantic makes of them.

    Raises:
        InvalidResult: it cannot be JSON.
        ResultTooLarge: it is more than 256 KiB.
    """
    try:
        text = to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, UnicodeEncodeError, ValueError, RecursionError) as error:
        raise InvalidResult(f"the handler's answer is not JSON: {error}") from error
    if len(text) > MAX_RESULT_BYTES:
        raise ResultTooLarge(
            f"the handler's answer has {len(text):,} bytes of JSON, a job may carry {MAX_RESULT_BYTES:,}: "
            "store it elsewhere and answer where"
        )
    return text


def describe(error: BaseException) -> ReportedError:
    """What is told of an exception: name, message, stack (without the worker's own frames; of a long one the end)."""
    return ReportedError(
        type=type(error).__qualname__.replace("<locals>.", "")[-_MAX_TYPE_CHARS:],
        message=_readable(_message(error))[:MAX_MESSAGE_CHARS],
        stack=None if isinstance(error, _SPEAK_FOR_THEMSELVES) else _stack(error),
        retryable=not isinstance(error, Fatal),
    )


def _start(job: LeasedJob, outcome: str) -> bytes:
    return to_json({"job": job.job, "token": job.token, "outcome": outcome})[:-1]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose text fails must not hide that the job failed
        return "(the exception has no readable text)"


def _stack(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("jobplane.worker."):
        frames = frames.tb_next
    try:
        text = _readable("".join(traceback.format_exception(type(error), error, frames)))
    except Exception:  # noqa: BLE001 - as above
        return ""
    return text if len(text) <= MAX_STACK_CHARS else _CUT + text[len(_CUT) - MAX_STACK_CHARS :]


def _readable(text: str) -> str:
    """Without what a database or JSON refuses: lone surrogates (undecodable file names) and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
