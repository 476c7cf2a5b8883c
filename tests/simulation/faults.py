"""What goes wrong, and how long things take: thrown anew for every step, from the dice of the seed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from random import Random
from typing import cast

import psycopg

from tests.simulation.loop import PROCESS, Process, SimulatedLoop


@dataclass(slots=True)
class Faults:
    """The odds of one seed; nothing goes wrong any more when `over`."""

    dice: Random
    latency_s: float = 0.001
    """How long a way takes in the mean; some are far slower."""
    crash: float = 0.0
    """That a process is killed at an await of its store."""
    lost_connection: float = 0.0
    """That a connection to the database breaks at a statement or a commit, which then counts or not."""
    lost_message: float = 0.0
    """That a message of core NATS does not arrive."""
    doubled_command: float = 0.0
    """That the acknowledgement of a command is lost, so that it comes again."""
    over: bool = False
    kill: Callable[[Process], None] = field(default=lambda _: None)
    """Ends a process, and has it started anew some time later."""

    def happens(self, odds: float) -> bool:
        """Throw the dice for a fault."""
        return bool(odds) and not self.over and self.dice.random() < odds

    def delay_s(self) -> float:
        """How long one way takes."""
        thrown = self.dice.random()
        if thrown < 0.25:
            return 0.0
        mean_s = self.latency_s * (40 if thrown > 0.98 else 1)
        return -log(1 - self.dice.random()) * mean_s

    async def way(self) -> None:
        """Go one way; a process may die on it."""
        loop = cast("SimulatedLoop", asyncio.get_running_loop())
        if self.happens(self.crash):
            loop.call_soon(self.kill, PROCESS.get())
            await loop.create_future()
        await loop.pass_time(self.delay_s())

    async def on_the_server(self) -> None:
        """Let the server work for a while: it does not die."""
        await cast("SimulatedLoop", asyncio.get_running_loop()).pass_time(self.delay_s())

    def connection(self) -> None:
        """Use the connection to the database.

        Raises:
            psycopg.OperationalError: it is broken.
        """
        if self.happens(self.lost_connection):
            raise psycopg.OperationalError("the connection is lost")
