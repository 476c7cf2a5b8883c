"""docs/workers.md shows what the contracts say, and its first example works."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from jobplane.chassis.settings import ProcessSettings
from jobplane.contracts import fleet, workers
from jobplane.contracts.message import Fact
from jobplane.worker.handlers import HANDLERS
from jobplane.worker.settings import WorkerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = {"LeaseRequest", "LeaseReply", "Beat", "BeatReply", "Signal", "DoneReport", "DoneReply", "Heartbeat"}


def contract(name: str) -> type[Fact]:
    found: type[Fact] = getattr(workers, name, None) or getattr(fleet, name)
    return found


def keys(value: object) -> set[str]:
    """All field names in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*(keys(item) for item in value.values()))
    return set[str]().union(*(keys(item) for item in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_is_what_the_contract_says(name: str, text: str) -> None:
    given = TypeAdapter[dict[str, object]](dict[str, object]).validate_json(text)
    message = contract(name).model_validate_json(text)
    told = message.model_dump(mode="json", exclude_unset=True)
    assert keys(given) == keys(told), "a field that the contract does not know"


def test_every_message_has_an_example() -> None:
    assert {name for name, _ in EXAMPLES} == NAMES


def test_every_setting_is_explained() -> None:
    for field in set(WorkerSettings.model_fields) | set(ProcessSettings.model_fields):
        assert f"`JOBPLANE_{field.upper()}`" in PAGE


async def test_the_first_example_works(monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    monkeypatch.setattr(HANDLERS, "_functions", {})
    monkeypatch.setattr(HANDLERS, "_ready", {})
    module = {"__name__": "greetings"}
    exec(compile(example, "greetings.py", "exec"), module)
    greet = HANDLERS["greet"]
    assert await greet.function(None, greet.read({"name": "Ada"})) == {"text": "Hello, Ada!"}
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("#")]) <= 10
