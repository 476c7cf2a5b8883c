"""Starting and stopping a server process that must not outlive its parent."""

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sign: signal.Signals, parent: int) -> None:
    """Called in a child: the kernel sends `sign` when the thread that forked it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    if os.getppid() != parent:  # the parent was gone before the wish was made
        os.kill(os.getpid(), signal.SIGKILL)


def call_itself(name: str) -> None:
    """Give this process a name for `ps` and `top`, at most 15 characters."""
    _LIBC.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def _child_setup(sign: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def setup() -> None:
        die_with_parent(sign, parent)

    return setup


def start(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    dies_by: signal.Signals,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (a Ctrl-C reaches only us), its output appended to `log`.

    Call it from the main thread: the child dies with the *thread* that started it.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_child_setup(dies_by),  # noqa: PLW1509 - no thread exists yet when servers are started
        )


def stop(process: subprocess.Popen[bytes], *signs: signal.Signals, timeout_s: float) -> None:
    """Ask the process to end, more firmly with each sign; when every time is over, end it. Nothing if it is gone."""
    for sign in (*signs, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            continue


def last_words(log: Path, *, lines: int = 3) -> str:
    """The end of a log file, for the sentence that explains why something did not start."""
    try:
        written = log.read_text(errors="replace").strip().splitlines()[-lines:]
    except FileNotFoundError:
        written = []
    return " / ".join(_plain(line) for line in written) or "it wrote nothing"


def _plain(line: str) -> str:
    """A structured line as a person would say it: the last line of its stack, else its detail."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(entry, dict):
        return line.strip()
    stack = str(entry.get("exception", "")).strip().splitlines()
    return stack[-1] if stack else str(entry.get("detail") or entry.get("event") or line.strip())
