"""What a process that did not start leaves behind becomes one readable sentence."""

import json
from pathlib import Path

import pytest

from jobplane.local import processes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("jobs: JOBPLANE_NATS_URL is not set.", "jobs: JOBPLANE_NATS_URL is not set."),
        (
            json.dumps({"event": "process.crashed", "exception": "Traceback …\n  File x\nTypeError: no"}),
            "TypeError: no",
        ),
        (json.dumps({"event": "process.failed", "detail": "no handler"}), "no handler"),
        (json.dumps({"event": "process.ended"}), "process.ended"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_the_last_line_is_said_plainly(tmp_path: Path, line: str, said: str) -> None:
    log = tmp_path / "x.log"
    log.write_text(f"something earlier\n{line}\n")
    assert processes.last_words(log, lines=1) == said


def test_a_silent_process_is_called_silent(tmp_path: Path) -> None:
    assert processes.last_words(tmp_path / "none.log") == "it wrote nothing"
