import subprocess
import sys
from uuid import UUID

from jobplane.chassis.ids import new_id

FORKS = """
import os
from jobplane.chassis.ids import new_id
new_id()  # the generator has state before the fork
for _ in range(4):
    child = os.fork()
    if child == 0:
        print(new_id(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(new_id())
"""


def test_ids_are_uuid7_in_canonical_form() -> None:
    made = new_id()
    assert UUID(made).version == 7
    assert str(UUID(made)) == made


def test_ids_of_one_process_ascend() -> None:
    made = [new_id() for _ in range(2_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_forked_children_make_ids_of_their_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], check=True, capture_output=True, text=True)
    made = done.stdout.split()
    assert len(made) == 5
    assert len(set(made)) == 5
