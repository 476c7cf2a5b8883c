import subprocess
import sys

import pytest

HEAVY = ("alembic", "faststream", "fastapi", "opentelemetry", "psycopg", "psycopg_pool", "sqlalchemy")
LIGHT = ("bus", "heartbeat", "logs", "object_store", "process", "settings", "tracing")


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_worker_imports_brings_no_database_and_no_framework(module: str) -> None:
    script = f"import sys, jobplane.chassis.{module}\nprint(*sorted({{*{HEAVY}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_importing_starts_no_thread_and_no_loop() -> None:
    script = "import threading, jobplane.chassis.queries, jobplane.chassis.database\nprint(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


def test_migrations_load_alembic_only_when_used() -> None:
    script = "import sys, jobplane.chassis.migrations\nprint(*sorted({'alembic', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
