"""Every test sees the fixtures of `tests.support`."""

pytest_plugins = ["tests.support.fixtures"]
