"""The questions that the audit service answers."""

from psycopg_pool import AsyncConnectionPool

from jobplane.audit import search
from jobplane.contracts.audit import AuditPage, AuditQuery


class Handlers:
    """Answers from the service's own tables."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def list(self, query: AuditQuery) -> AuditPage:
        """Entries of the AuditLog, newest first."""
        async with self._pool.connection() as conn:
            return await search.page(conn, query)
