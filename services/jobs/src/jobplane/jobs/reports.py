"""Reports of workers: how runs ended, settled in micro-batches; safe to repeat, fenced by the token of the run."""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.chassis.intake import MAX_BATCH
from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.jobs import MAX_MESSAGE_CHARS, MAX_RESULT_BYTES, MAX_STACK_CHARS
from jobplane.contracts.workers import DoneAnswer, DoneItem, DoneReply, DoneReport, ReportedError
from jobplane.jobs import bodies
from jobplane.jobs.decider import CompleteJob, FailJob, LeaseLost, Rejected, ReleaseJob, Report, StopReported
from jobplane.jobs.fingerprint import fingerprint
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.wishes import Cause, Settled, Wish


class Reports:
    """Settles done reports."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def serve(self, reports: Sequence[DoneReport]) -> list[DoneReply]:
        """One reply per report, with one answer per item, all in order."""
        items = [(report.worker, item) for report in reports for item in report.items]
        wishes: list[Wish] = []
        invalid: dict[int, str] = {}
        for number, (name, item) in enumerate(items):
            try:
                wishes.append(_wish(name, item))
            except InvalidMessage as error:
                invalid[number] = str(error)
        settled = iter([one for some in _batches(wishes) for one in await self._ledger.settle(some)])
        answers = iter(
            [
                DoneAnswer(job=item.job, token=item.token, status="invalid", detail=invalid[number])
                if number in invalid
                else _answer(item, next(settled))
                for number, (_, item) in enumerate(items)
            ]
        )
        return [DoneReply(answers=[next(answers) for _ in report.items]) for report in reports]


def _batches(wishes: Sequence[Wish]) -> Iterator[Sequence[Wish]]:
    """At most as many in one transaction as everybody has: it holds the head of the journal."""
    for start in range(0, len(wishes), MAX_BATCH):
        yield wishes[start : start + MAX_BATCH]


def _wish(worker: str, item: DoneItem) -> Wish:
    """What a worker reports of one run.

    Raises:
        InvalidMessage: the result is too large.
    """
    wish = Wish(ReleaseJob(item.job, item.token, "drained"), Cause(worker_actor(worker)))
    match item.outcome:
        case "completed":
            wish.command = _completed(wish, item)
        case "failed":
            wish.command = _failed(
                wish, item, item.error or ReportedError(type="Unknown", message="The worker told no error.")
            )
        case "cancelled":
            wish.command = StopReported(item.job, item.token, "cancelled", item.stop_heard_at)
        case "released":
            pass
    return wish


def _completed(wish: Wish, item: DoneItem) -> Report:
    if item.result is None:
        return CompleteJob(item.job, item.token, heard_at=item.stop_heard_at)
    if len(to_json(item.result)) > MAX_RESULT_BYTES:
        msg = f"the result is larger than {MAX_RESULT_BYTES} bytes: store it elsewhere and answer a reference"
        raise InvalidMessage(msg)
    wish.body = bodies.seal(wish.event_id, item.result)
    return CompleteJob(item.job, item.token, wish.body.fact, item.stop_heard_at)


def _failed(wish: Wish, item: DoneItem, error: ReportedError) -> Report:
    message, stack = error.message[:MAX_MESSAGE_CHARS], error.stack[-MAX_STACK_CHARS:] if error.stack else None
    text: dict[str, JsonValue] = {"message": message, "stack": stack}
    wish.body = bodies.seal(wish.event_id, text)
    error_type = error.type.replace("\0", "")  # the only character that a database's text cannot hold
    fact = ErrorFact(type=error_type, fingerprint=fingerprint(error_type, message, stack), body=wish.body.fact)
    return FailJob(item.job, item.token, fact, error.retryable, item.stop_heard_at)


def _answer(item: DoneItem, settled: Settled) -> DoneAnswer:
    match settled.decision:
        case LeaseLost():
            return DoneAnswer(
                job=item.job, token=item.token, status="lease_lost", detail="This run is no longer yours."
            )
        case Rejected(code=code):
            return DoneAnswer(job=item.job, token=item.token, status="invalid", detail=code)
        case _:
            return DoneAnswer(job=item.job, token=item.token, status="accepted")
