"""New identifiers: UUIDv7 as text, so that order of ids is order of time."""

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 in canonical form; ids of one process ascend, also in a forked child no id is given twice."""
    return str(uuid_utils.uuid7())
