"""Run jobs in Python: declare handlers, and `jobplane worker my.module` (or `python -m jobplane.worker`) runs them.

from jobplane.worker import Context, handler

@handler("mail.send")
async def send(ctx: Context, payload: Mail) -> None: ...
"""

from jobplane.worker.context import Context
from jobplane.worker.errors import Cancelled, Fatal
from jobplane.worker.handlers import handler

__all__ = ["Cancelled", "Context", "Fatal", "handler"]
