import json
import subprocess
import sys
from typing import Any


def lines_of(script: str, level: str = "info") -> list[dict[str, Any]]:
    head = f"""
import logging, structlog
from jobplane.chassis import logs, tracing
logs.configure("jobs", "jobs-1", {level!r})
log = structlog.get_logger()
"""
    done = subprocess.run([sys.executable, "-c", head + script], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_is_json_with_event_time_level_service_and_instance() -> None:
    (line,) = lines_of("log.info('job.retried', job_id='7', actor='a')")
    assert line.pop("at").endswith("+00:00")
    expected = {"level": "info", "event": "job.retried", "service": "jobs", "instance": "jobs-1"}
    assert line == expected | {"job_id": "7", "actor": "a"}


def test_inside_a_span_the_line_names_the_trace() -> None:
    (line,) = lines_of(
        "with tracing.span('x', traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'): log.info('y')"
    )
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_an_exception_is_one_line_with_its_stack() -> None:
    (line,) = lines_of("try: 1 / 0\nexcept ZeroDivisionError: log.exception('failed')")
    assert line["level"] == "error"
    assert "ZeroDivisionError: division by zero" in line["exception"]


def test_libraries_are_heard_from_warnings_on() -> None:
    (line,) = lines_of("logging.getLogger('lib').info('quiet')\nlogging.getLogger('lib').warning('loud %s', 1)")
    assert (line["event"], line["logger"], line["message"]) == ("library.log", "lib", "loud 1")


def test_the_level_is_a_threshold() -> None:
    assert lines_of("log.info('no')\nlog.warning('yes')", level="warning")[0]["event"] == "yes"


def test_what_json_does_not_know_is_written_as_text() -> None:
    (line,) = lines_of("log.info('x', error=ValueError('bad'))")
    assert line["error"] == "bad"
