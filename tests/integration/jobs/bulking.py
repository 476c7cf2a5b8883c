"""Drives bulk operations without a bus, as the service does."""

from typing import Any

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.chassis.refusals import Tally
from jobplane.contracts.actors import Actor
from jobplane.contracts.commands import AnyDirective
from jobplane.contracts.operations import (
    BulkAction,
    BulkEdit,
    OperationItem,
    OperationView,
    PlanOperation,
)
from jobplane.contracts.queries import ListItems, OneOperation
from jobplane.jobs.chunks import Carried
from jobplane.jobs.directives import Directives
from jobplane.jobs.operation_views import OperationViews
from jobplane.jobs.operations import Operations
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.planner import ByFilter, Planner
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction
from jobplane.jobs.runner import Runner
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.wishes import Cause, Delivered, Directive
from tests.integration.jobs.driving import ADMIN
from tests.integration.jobs.wishing import command_terms


class Bulk:
    """The parts of the service that plan operations and carry them out."""

    def __init__(self, pool: AsyncConnectionPool, *, reason_over: int = 100) -> None:
        self.journal = Journal(pool)
        index = SearchIndex(pool, Redaction.of(DEFAULT_KEYS.split(",")))
        matching = ByFilter(Redaction.of(DEFAULT_KEYS.split(",")), self.journal, index)
        self.operations = Operations(reason_over, matching.drift)
        self.directives = Directives(self.journal, Tally(), self.operations.rules)
        self.carried: list[Carried] = []
        self.planner = Planner(self.journal, self.operations, lambda: None, matching)
        self.runner = Runner(self.journal, self.operations, self.carried.append)
        self.views = OperationViews(pool)

    async def ask(self, asked: AnyDirective, *, actor: Actor = ADMIN, reason: str | None = None) -> Stored:
        """Have one command decided."""
        cause = Cause(actor, new_id(), reason=reason)
        return await self.directives.carry_out(Directive(asked, cause, Delivered(**command_terms(asked.type))))

    async def request(self, action: BulkAction, ids: list[str], *, reason: str | None = "a test", **more: Any) -> str:
        """Ask for an operation on these jobs; gives its id."""
        told: dict[str, Any] = {"operation_id": new_id(), "action": action, "ids": ids or None, "then_run": True}
        wanted = PlanOperation(**(told | more))
        stored = await self.ask(wanted, reason=reason)
        assert stored.status == "done", stored
        return wanted.operation_id

    async def do(self, action: BulkAction, ids: list[str], edit: BulkEdit | None = None, **more: Any) -> OperationView:
        """Plan and run an operation to its end."""
        operation_id = await self.request(action, ids, edit=edit, **more)
        return await self.finish(operation_id)

    async def finish(self, operation_id: str) -> OperationView:
        """Do what waits."""
        await self.planner.run_once()
        await self.runner.run_once()
        return await self.view(operation_id)

    async def view(self, operation_id: str) -> OperationView:
        """An operation as it is."""
        return await self.views.one(OneOperation(operation_id=operation_id))

    async def items(self, operation_id: str, **asked: Any) -> list[OperationItem]:
        """All items, page by page."""
        found: list[OperationItem] = []
        cursor: str | None = None
        while True:
            page = await self.views.items(ListItems(operation_id=operation_id, cursor=cursor, **asked))
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def codes(self, operation_id: str) -> dict[str, str | None]:
        """Why each job was skipped; None: it was not."""
        return {item.job_id: item.code for item in await self.items(operation_id)}
