"""What stops a start, said as one plain sentence."""

from jobplane.contracts.errors import JobplaneError


class CannotStart(JobplaneError):
    """The platform cannot start here; the message is the sentence shown to the person, nothing was damaged."""
