"""The jobs and audit services as the gateway meets them on the bus, scripted: answers without journal or database."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from nats.aio.msg import Msg
from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT, CommandMessage, CommandOutcome
from jobplane.contracts.ids import JobId, Position
from jobplane.contracts.jobs import JobStatus, JobView
from tests.support.servers import Bus
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Decide = Callable[[CommandMessage], CommandOutcome | None]


def job(job_id: str | None = None, **values: Any) -> JobView:
    """A job; anything may be said of it."""
    told: dict[str, Any] = {
        "id": JobId(job_id or new_id()),
        "kind": "image.thumbnail",
        "queue": "default",
        "status": JobStatus.PENDING,
        "priority": 0,
        "run": 0,
        "attempt": 0,
        "max_attempts": 5,
        "run_at": NOW,
        "created_at": NOW,
        "version": 1,
        "position": Position(1),
        "payload": {"width": 320},
        "result": {"secret": True},
        "trace_id": "0" * 31 + "1",
    }
    return JobView(**(told | values))


def done(message: CommandMessage, **values: Any) -> CommandOutcome:
    """It was done."""
    if message.command.TARGET != "job":
        facts: dict[str, JsonValue] = {message.command.TARGET: message.command.target}
        return CommandOutcome(command_id=message.command_id, status="done", facts=facts, position=Position(7))
    view = job(message.command.target, version=2, position=Position(7))
    told: dict[str, Any] = {"status": "done", "job_id": view.id, "job": view, "position": Position(7)}
    return CommandOutcome(command_id=message.command_id, **(told | values))


def refused(message: CommandMessage, code: str, **facts: JsonValue) -> CommandOutcome:
    """It was refused."""
    if message.command.TARGET != "job":
        return CommandOutcome(
            command_id=message.command_id, status="refused", code=code, detail="Because.", facts=facts
        )
    view = job(message.command.target, version=4)
    return CommandOutcome(
        command_id=message.command_id,
        status="refused",
        code=code,
        detail="Because.",
        facts=facts,
        job_id=view.id,
        job=view,
    )


class ScriptedJobs:
    """Decides as `decide` says (None: never), answers queries from `answers`; keeps what it was sent."""

    def __init__(self) -> None:
        self.commands: list[CommandMessage] = []
        self.reply_tos: list[str] = []
        self.traces: list[str] = []
        self.asked: list[tuple[str, bytes]] = []
        self.decide: Decide = done
        self.answers: dict[str, Any] = {
            "jobs.query.journal": {"position": 0, "relayed": 0, "epoch": 1},
            "jobs.query.command": {"problem": {"code": "command_not_found", "detail": "No.", "facts": {}}},
        }
        """By subject: the `ok` of the reply, or ``{"problem": …}``."""
        self._nc: Connection | None = None

    @classmethod
    async def start(cls, bus: Bus) -> Self:
        """Answer on this bus."""
        scripted = cls()
        nc = scripted._nc = await chassis_bus.connect(bus.url("test"), user="test", name="scripted")
        await nc.subscribe("jobs.cmd.>", cb=scripted._on_command)
        for service in ("jobs", "audit", "health"):
            await nc.subscribe(f"{service}.query.*", cb=scripted._on_query)
        await nc.flush()
        return scripted

    async def stop(self) -> None:
        """Say no more."""
        if self._nc is not None:
            await chassis_bus.close(self._nc)

    async def decide_last(self) -> None:
        """Give the outcome of the last command, which was held back."""
        await eventually(lambda: self.commands)
        assert self._nc is not None
        await self._nc.publish(self.reply_tos[-1], done(self.commands[-1]).model_dump_json().encode())

    async def _on_command(self, message: Msg) -> None:
        command = CommandMessage.model_validate_json(message.data)
        headers = message.headers or {}
        self.traces.append(headers[TRACEPARENT])
        self.reply_tos.append(headers[REPLY_TO])
        self.commands.append(command)
        outcome = self.decide(command)
        if outcome is not None and self._nc is not None:
            await self._nc.publish(headers[REPLY_TO], outcome.model_dump_json().encode())

    async def _on_query(self, message: Msg) -> None:
        self.asked.append((message.subject, message.data))
        answer = self.answers.get(message.subject)
        if answer is None:
            return
        reply = answer if isinstance(answer, dict) and "problem" in answer else {"ok": answer, "problem": None}
        await message.respond(to_json(reply))
