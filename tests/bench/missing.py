"""What a measurement says when it cannot be made on this machine."""


class NotHere(Exception):
    """Something that a measurement needs is not on this machine; `str(error)` says what."""
