"""Every test sees the fixtures of `tests.support`."""

from collections.abc import Iterator

import pytest
import structlog

# Tracebacks with every local variable take a second each, and hide what a failing test has to say.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

pytest_plugins = ["tests.support.fixtures"]


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """What a test does to the configuration of logs ends with it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
