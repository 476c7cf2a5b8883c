"""What stops a start, said as one plain sentence."""


class CannotStart(Exception):
    """The platform cannot start here; the message is the sentence shown to the person, nothing was damaged."""
