"""Decoded pictures share a budget of memory."""

import threading

from jobplane.images.memory import Memory
from tests.support.waiting import eventually


class Reader(threading.Thread):
    """Takes its share of 100 bytes, and keeps it until it may go."""

    def __init__(self, memory: Memory, needed: int) -> None:
        super().__init__(daemon=True)
        self.memory, self.needed = memory, needed
        self.inside, self.go = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.memory.share(self.needed, of=100):
            self.inside.set()
            self.go.wait()


async def test_who_does_not_fit_waits_for_its_turn_and_is_not_overtaken() -> None:
    memory = Memory()
    first, second = Reader(memory, 50), Reader(memory, 30)
    await eventually(lambda: first.inside.is_set() and second.inside.is_set())
    large = Reader(memory, 60)
    await eventually(lambda: len(memory._turns) == 1)
    small = Reader(memory, 10)  # it would fit, but came later
    await eventually(lambda: len(memory._turns) == 2)
    assert not large.inside.is_set()
    assert not small.inside.is_set()
    first.go.set()
    await eventually(lambda: large.inside.is_set() and small.inside.is_set())
    for reader in (second, large, small):
        reader.go.set()
        reader.join(5)
    assert memory._taken == 0
