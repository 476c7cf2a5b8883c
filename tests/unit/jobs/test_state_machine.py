from pathlib import Path

import pytest

from jobplane.jobs import state_machine
from jobplane.jobs.decider import REFUSALS, AnyCommand

PAGE = Path(__file__).parents[3] / "docs" / "state_machine.md"


def test_the_page_is_what_the_code_does() -> None:
    current = PAGE.read_text(encoding="utf-8")
    assert current == state_machine.render(), "run: python -m jobplane.jobs.state_machine"


def test_every_command_and_every_refusal_is_on_the_page() -> None:
    page = state_machine.render()
    for command in AnyCommand.__args__:
        assert f"| {command.__name__}" in page
    shown = page.split("## Refusals")[0]
    assert {code for code in REFUSALS if f"`{code}`" not in shown} == {"run_at_too_far", "job_archived"}


def test_the_module_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["state_machine", str(target)])
    state_machine.main()
    assert target.read_text(encoding="utf-8") == state_machine.render()
