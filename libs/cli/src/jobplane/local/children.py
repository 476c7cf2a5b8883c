"""The forked processes: begun, heard of, started again with a pause, ended."""

import select
import signal
import time
from dataclasses import dataclass, field

from jobplane.local import processes
from jobplane.local.backoff import Backoff
from jobplane.local.data_dir import DataDirectory
from jobplane.local.fork_server import Ended, Fact, ForkServer, Gone, Preloaded, Started
from jobplane.local.plan import PRELOAD, Child
from jobplane.local.problems import CannotStart
from jobplane.local.reporter import Reporter
from jobplane.local.signals import Signals

_FORK_SERVER_END_S = 1.0


@dataclass(slots=True)
class Run:
    """One child over its lives."""

    child: Child
    once: bool = False
    """It is meant to end by itself."""
    pid: int | None = None
    ended: bool = False
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self.pid is not None and not self.ended


class Children:
    """Everything that was forked for one data directory."""

    def __init__(self, data: DataDirectory, signals: Signals, reporter: Reporter) -> None:
        self._data = data
        self._signals = signals
        self._report = reporter
        self._fork = ForkServer(PRELOAD, data.log("services"))
        self.runs: dict[str, Run] = {}
        self.preloaded = False
        self.settled = False
        """Before, an end is a failed start; afterwards it is an accident, and the child is started again."""
        self.ending = False

    def begin(self, child: Child, *, once: bool = False) -> Run:
        """Fork it; if the fork server still imports, as soon as it can."""
        run = self.runs[child.name] = Run(child, once)
        self._spawn(run)
        return run

    def wait(self, timeout_s: float | None) -> None:
        """Until a signal came, a child was heard of, or the time is over."""
        channels = [self._signals.channel, self._fork.channel.fileno()]
        readable, _, _ = select.select(channels, [], [], timeout_s)
        if self._signals.channel in readable:
            self._signals.drain()
        if self._fork.channel.fileno() in readable:
            for fact in self._fork.facts():
                self._learn(fact)

    def revive(self, now: float) -> None:
        """Start again whose pause is over."""
        for run in self.runs.values():
            if run.backoff.due_at is not None and run.backoff.due_at <= now:
                self._spawn(run)

    def due_at(self) -> float | None:
        """When `revive` has something to do next."""
        return min((run.backoff.due_at for run in self.runs.values() if run.backoff.due_at is not None), default=None)

    def end(self, runs: list[Run], deadline: float) -> None:
        """Ask these to end, wait for them, and end who does not; a second wish to stop shortens the wait."""
        self.ending = True
        self._signal(runs, signal.SIGTERM)
        asked = self._signals.stop_asked
        while any(run.alive for run in runs) and self._signals.stop_asked <= max(asked, 1):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.wait(left)
        self._signal(runs, signal.SIGKILL)

    def close(self) -> None:
        """End the fork server, and with it whoever is left."""
        self.ending = True
        self._fork.close(timeout_s=_FORK_SERVER_END_S)

    def _signal(self, runs: list[Run], sign: signal.Signals) -> None:
        for run in runs:
            run.backoff.due_at = None
            if run.alive:
                self._fork.signal(run.child.name, sign)

    def _spawn(self, run: Run) -> None:
        run.pid, run.ended = None, False
        run.backoff.started(time.monotonic())
        child = run.child
        self._fork.spawn(child.name, child.module, child.environment, self._data.log(child.name))

    def _learn(self, fact: Fact) -> None:
        match fact:
            case Preloaded(threads):
                if threads != 1:
                    self._report.say(
                        f"warning: importing the services left {threads} threads, forked children may hang"
                    )
                self.preloaded = True
            case Started(name, pid):
                self.runs[name].pid = pid
            case Ended(name, _, code):
                self._lost(self.runs[name], code)
            case Gone():
                self._lost_all()

    def _lost(self, run: Run, code: int) -> None:
        run.ended = True
        name = run.child.name
        log = self._data.log(name)
        if self.ending:
            return
        if run.once and code == 0:
            if self.settled:
                self._report.say(f"{name}: {processes.last_words(log, lines=1)}")
            return
        if not self.settled:
            message = f"{name} did not start: {processes.last_words(log, lines=1)} (log: {log})"
            raise CannotStart(message)
        if run.once:
            self._report.say(f"{name} failed: {processes.last_words(log, lines=1)}")
            return
        pause = run.backoff.crashed(time.monotonic())
        self._report.say(f"{name} ended unexpectedly ({how(code)}), starting it again in {pause:.1f} s (log: {log})")

    def _lost_all(self) -> None:
        """The fork server is gone, its children with it: begin again with a new one, unless this is the end anyway."""
        if self.ending:
            for run in self.runs.values():
                run.ended = True
            return
        if not self.settled:
            raise self._fork.failure()
        self._report.say("the fork server ended unexpectedly, starting all services again")
        self._fork.close(timeout_s=_FORK_SERVER_END_S)
        self._fork = ForkServer(PRELOAD, self._data.log("services"))
        for run in self.runs.values():
            if not run.once:
                self._spawn(run)


def how(code: int) -> str:
    """An exit code for people."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
