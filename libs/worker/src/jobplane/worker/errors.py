"""What a handler may raise on purpose, and what the worker says when a job cannot be run or its answer not be sent."""

from jobplane.contracts.errors import JobplaneError


class Fatal(JobplaneError):
    """Fail the job now: another attempt cannot help. The name of a subclass becomes the error's type."""


class Cancelled(JobplaneError):
    """Raised by `Context.raise_if_cancelled` when the run must stop; let it pass."""


class InvalidPayload(Fatal):
    """The payload does not have the shape that the handler declares."""


class InvalidResult(Fatal):
    """The handler's answer is not JSON."""


class ResultTooLarge(Fatal):
    """The handler's answer is more than a job may carry; put it into a store and answer its key."""


class BadHandler(JobplaneError):
    """A handler is declared in a way that cannot work; found before the first job is leased."""
