"""When a failed run is tried again: exponential backoff with jitter."""

from datetime import timedelta
from typing import Final

BASE_S: Final = 2.0
CAP_S: Final = 3600.0
JITTER: Final = 0.25
_DOUBLINGS_TO_CAP: Final = 11


def backoff(attempt: int, jitter: float) -> timedelta:
    """How long to wait after the failure of `attempt` (from 1); `jitter` from 0 to 1 is rolled by the caller.

    The wait doubles from 2 s and is capped at 1 h; jitter then moves it by up to a quarter to either side, so that jobs
    which failed together do not come back together.

    ======= ========== ====================
    attempt wait       with jitter 0 to 1
    ======= ========== ====================
    1       2 s        1.5 s to 2.5 s
    2       4 s        3 s to 5 s
    3       8 s        6 s to 10 s
    4       16 s       12 s to 20 s
    5       32 s       24 s to 40 s
    8       4 min 16 s 3 min 12 s to 5 min 20 s
    10      17 min 4 s 12 min 48 s to 21 min 20 s
    12 …    1 h        45 min to 1 h 15 min
    ======= ========== ====================

    Source: truncated binary exponential backoff (Metcalfe and Boggs, "Ethernet", CACM 19(7), 1976), with a symmetric
    randomisation factor as in Google's HTTP client (`ExponentialBackOff`); why jitter matters: Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    doublings = min(max(attempt, 1) - 1, _DOUBLINGS_TO_CAP)
    wait_s = min(BASE_S * 2**doublings, CAP_S)
    return timedelta(seconds=wait_s * (1 + JITTER * (2 * jitter - 1)))
