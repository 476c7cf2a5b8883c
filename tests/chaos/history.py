"""What clients, workers and fault injectors saw: one JSON object a line, written before anybody can forget it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Recorder:
    """Appends to one file; safe to share between threads, and between processes that have recorders of their own.

    A record is one write, so that a killed process leaves at most its last line unfinished.
    """

    def __init__(self, file: Path, who: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._who = who

    def note(self, what: str, **facts: object) -> None:
        """Write one record; `mono` can be compared between the processes of one machine, `at` is for people."""
        record = {"at": round(time.time(), 6), "mono": time.monotonic(), "who": self._who, "what": what} | facts
        os.write(self._descriptor, (json.dumps(record, default=str) + "\n").encode())

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


def read(directory: Path) -> list[Record]:
    """Everything that was recorded below a directory, in order of time."""
    records = [record for file in sorted(directory.glob("*.jsonl")) for record in _lines(file)]
    return sorted(records, key=lambda record: float(record["mono"]))


def _lines(file: Path) -> Iterator[Record]:
    with file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return  # its writer was killed
            yield json.loads(line)
