"""Every test sees the fixtures of `tests.support`."""

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
