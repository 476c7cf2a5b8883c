"""The REST API: one file per resource; rules live elsewhere."""

from typing import Final

from jobplane.gateway.routes import (
    assets,
    audit,
    commands,
    control,
    dlq,
    docs,
    errors,
    health,
    history,
    jobs,
    live,
    operations,
    queues,
    reveal,
    session,
    stats,
    token,
)

ROUTERS: Final = (
    jobs.router,
    history.router,
    control.router,
    reveal.router,
    operations.router,
    commands.router,
    queues.router,
    dlq.router,
    errors.router,
    assets.router,
    audit.router,
    stats.router,
    health.router,
    live.router,
    session.router,
    token.router,
    docs.router,
    health.probes,
)
"""All of them, in the order in which the documentation shows them."""
