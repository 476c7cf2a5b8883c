"""`jobplane status`: is everything well, and what is there to do."""

from typing import Any

import typer

from jobplane.cli import output
from jobplane.cli.failures import Exit
from jobplane.cli.target import Common


def status(common: Common) -> None:
    """Show the processes, the queues, the counts, and every check that is not ok. Exit code 1 if a check fails.

    Example:

        jobplane status
    """
    with common.client() as client:
        stats = client.get("/stats")
        health = client.get("/health/detailed")
    if common.as_json:
        output.as_json({"stats": stats, "health": health})
    else:
        _show(stats, health)
    if health["status"] == "fail":
        raise typer.Exit(Exit.REFUSED)


def _show(stats: dict[str, Any], health: dict[str, Any]) -> None:
    processes = [*health["services"], *health["workers"]]
    output.table(
        ["PROCESS", "STATUS", "CPU %", "RSS MB", "IN FLIGHT", "UP FOR"],
        [
            [
                process["instance"],
                process["status"],
                f"{process['beat']['cpu_percent']:.0f}",
                f"{process['beat']['rss_bytes'] / 1e6:.0f}",
                str(process["beat"]["in_flight"]),
                output.age(process["beat"]["started_at"]),
            ]
            for process in processes
        ],
    )
    typer.echo("")
    output.table(["STATUS", "JOBS"], [[name, str(count)] for name, count in stats["by_status"].items()])
    if stats["queues"]:
        typer.echo("")
        output.table(
            ["QUEUE", "PENDING", "RUNNING", "OLDEST WAITS"],
            [[q["queue"], str(q["pending"]), str(q["running"]), output.age(q["oldest_at"])] for q in stats["queues"]],
        )
    typer.echo("")
    bad = [check for check in health["checks"] if check["status"] != "ok"]
    if bad:
        output.table(
            ["CHECK", "STATUS", "VALUE", "SINCE", "ADVICE"],
            [[c["name"], c["status"], str(c["value"]), output.age(c["since"]), c["advice"]] for c in bad],
        )
    else:
        typer.echo(f"all {len(health['checks'])} checks are ok")
