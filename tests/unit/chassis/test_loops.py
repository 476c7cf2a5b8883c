import asyncio

import pytest
from structlog.testing import capture_logs

from jobplane.chassis.loops import Loop
from tests.support.waiting import eventually

NEVER_S = 3600.0


class Work:
    def __init__(self) -> None:
        self.calls = 0
        self.under_way = 0
        self.most_under_way = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def run_once(self) -> None:
        self.calls += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.under_way -= 1


async def test_the_first_call_is_made_at_once_and_a_nudge_makes_another() -> None:
    work = Work()
    loop = Loop("work", work.run_once, NEVER_S)
    loop.start()
    await eventually(lambda: work.calls == 1)
    loop.nudge()
    await eventually(lambda: work.calls == 2)
    await loop.stop()


async def test_it_calls_again_when_the_time_has_come() -> None:
    work = Work()
    loop = Loop("work", work.run_once, 0.001)
    loop.start()
    await eventually(lambda: work.calls >= 5)
    await loop.stop()


async def test_calls_never_overlap_and_a_nudge_during_a_call_is_not_lost() -> None:
    work = Work()
    work.gate.clear()
    loop = Loop("work", work.run_once, NEVER_S)
    loop.start()
    await eventually(lambda: work.calls == 1)
    loop.nudge()
    work.gate.set()
    await eventually(lambda: work.calls == 2)
    await loop.stop()
    assert work.most_under_way == 1


async def test_a_failing_call_is_logged_once_and_the_loop_goes_on() -> None:
    work = Work()
    work.error = ValueError("broken")
    loop = Loop("work", work.run_once, NEVER_S)
    with capture_logs() as lines:
        loop.start()
        for calls in (1, 2, 3):
            await eventually(lambda calls=calls: work.calls == calls)  # type: ignore[misc]
            loop.nudge()
        assert loop.failing == "ValueError: broken"
        await eventually(lambda: work.calls == 4)
        work.error = None
        loop.nudge()
        await eventually(lambda: loop.failing is None)
    await loop.stop()
    assert [(line["event"], line["loop"]) for line in lines] == [("loop.failed", "work"), ("loop.recovered", "work")]


async def test_after_stop_nothing_runs() -> None:
    work = Work()
    work.gate.clear()
    loop = Loop("work", work.run_once, 0.001)
    loop.start()
    await eventually(lambda: work.under_way == 1)
    await loop.stop()
    assert work.under_way == 0
    await loop.stop()


@pytest.mark.parametrize(("failures", "pause_s"), [(1, 0.5), (2, 1.0), (4, 4.0), (50, 30.0)])
def test_the_pause_grows_with_failures(failures: int, pause_s: float) -> None:
    loop = Loop("work", Work().run_once, 0.1)
    loop._failures = failures
    assert loop._pause_s() == pause_s
