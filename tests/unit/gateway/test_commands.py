"""Command ids, digests and preferences."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.gateway import commands
from jobplane.gateway.commands import Terms
from jobplane.gateway.routes.jobs import NewJob

texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(texts, texts, texts)
def test_the_id_follows_from_actor_request_line_and_key(actor: str, path: str, key: str) -> None:
    one = commands.command_id(actor, "POST", path, key)
    assert one == commands.command_id(actor, "POST", path, key)
    assert UUID(one).version == 5
    assert one != commands.command_id(actor, "DELETE", path, key)
    assert one != commands.command_id(actor, "POST", path, key + "x")


def test_without_a_key_every_command_is_a_new_one() -> None:
    one, two = (commands.command_id("a", "POST", "/", None) for _ in range(2))
    assert one != two
    assert UUID(one).version == 7


def test_the_digest_tells_what_was_asked_for_not_how_it_was_written() -> None:
    one = NewJob.model_validate_json('{"kind": "x", "payload": {"a": 1, "b": [2]}}')
    two = NewJob.model_validate_json('{"payload":{"b":[2],"a":1},"kind":"x","queue":"default"}')
    three = NewJob.model_validate_json('{"kind": "x", "payload": {"a": 1, "b": [3]}}')
    assert commands.digest(one, Terms()) == commands.digest(two, Terms()) != commands.digest(three, Terms())
    assert commands.digest(one, Terms()) != commands.digest(one, Terms(expected_version=1))
    assert commands.digest(one, Terms()) == commands.digest(one, Terms(idempotency_key="k", wait_s=9))


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        (None, 2),
        ("", 2),
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="7"', 7),
        ("wait=0", 0),
        ("wait=500", 30),
        ("wait=-1", 2),
        ("wait=soon", 2),
        ("return=minimal, wait=3", 3),
        ("respond-async", 0),
        ("wait=5, respond-async", 0),
        ("handling=lenient", 2),
    ],
)
def test_preferences_that_we_do_not_know_are_ignored(prefer: str | None, wait_s: float) -> None:
    assert commands.wait_of(prefer) == wait_s
