import os
from uuid import UUID

from jobplane.chassis.ids import new_id


def test_ids_are_uuid7_in_canonical_form() -> None:
    made = new_id()
    assert UUID(made).version == 7
    assert str(UUID(made)) == made


def test_ids_of_one_process_ascend() -> None:
    made = [new_id() for _ in range(2_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_forked_children_make_ids_of_their_own() -> None:
    new_id()  # the generator has state before the fork
    made = [id_of_a_forked_child() for _ in range(4)]
    assert len({*made, new_id()}) == 5


def id_of_a_forked_child() -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return answer.read()
