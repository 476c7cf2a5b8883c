"""docs/workers.md shows what the contracts say, and its first example works."""

import re
from pathlib import Path

import pytest
from pydantic import JsonValue, TypeAdapter

from jobplane.chassis.settings import ProcessSettings
from jobplane.contracts import fleet, workers
from jobplane.contracts.message import Fact
from jobplane.worker import Context
from jobplane.worker.handlers import HANDLERS
from jobplane.worker.settings import WorkerSettings
from jobplane.worker.threads import Threads

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workers.md").read_text()
README = (ROOT / "README.md").read_text()
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


@pytest.mark.parametrize(
    ("page", "kind", "payload", "answer"),
    [
        (PAGE, "greet", {"name": "Ada"}, {"text": "Hello, Ada!"}),
        (README, "mail.welcome", {"to": ["ada@example.org", "grace@example.org"]}, {"sent": 2}),
    ],
)
async def test_the_first_example_has_ten_lines_and_works(
    page: str, kind: str, payload: dict[str, JsonValue], answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    monkeypatch.setattr(HANDLERS, "_functions", {})
    monkeypatch.setattr(HANDLERS, "_ready", {})
    exec(compile(example, "example.py", "exec"), {"__name__": "example"})
    handler = HANDLERS[kind]
    leased = next(text for name, text in EXAMPLES if name == "LeaseReply")
    context = Context(workers.LeaseReply.model_validate_json(leased).jobs[0], Threads(1))
    assert await handler.function(context, handler.read(payload)) == answer
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("#")]) <= 10
