"""docs/reliability.md names every scenario, and every row of the table of faults has one."""

from pathlib import Path

from tests.chaos.act import Result
from tests.chaos.checker import INVARIANTS, Violation
from tests.chaos.report import rows, update
from tests.chaos.scenarios import SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FAULTS = (
    "NATS down",
    "NATS wiped",
    "jobs' database down",
    "gateway's database down",
    "Postgres restored older than the bus",
    "jobs killed in a transaction",
    "jobs killed after commit before reply",
    "audit or health down for a day",
    "worker killed or frozen beyond its lease",
    "poison message",
    "flood",
)


def test_every_fault_has_a_scenario() -> None:
    assert {scenario.row for scenario in SCENARIOS.values()} >= set(FAULTS)


def test_the_page_names_every_scenario_and_every_invariant() -> None:
    page = PAGE.read_text()
    assert [name for name in SCENARIOS if f"`{name}`" not in page] == []
    assert [name for name in INVARIANTS if f"| {name} |" not in page] == []


def test_runs_of_one_scenario_are_summed_up() -> None:
    broken = Result("mix", 2, 20, 50, 8, 12.6, (Violation("I1", "a hole"),))
    results = [Result("mix", 1, 10, 30, 8, 10.0), broken]
    assert rows(results)[0] == ("mix", "2", "30", "80", "16", "23", "1")
    assert "| mix | 2 | 30 |" in update(PAGE.read_text(), results, SCENARIOS.values())
