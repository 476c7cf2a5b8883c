"""What is secret is not shown, and what is shown never comes back as if it were the secret."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.jobs import dead_letters, redaction
from jobplane.jobs.redaction import BY_DEFAULT, MARK, Redaction

JOBS = Path(redaction.__file__).parent
KEYS = some.sampled_from(["password", "X-Api-Key", "user", "sessionToken", "size", "cookies"])
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def secrets_in(value: JsonValue) -> list[JsonValue]:
    """What stands below secret keys."""
    if isinstance(value, dict):
        here = [item for key, item in value.items() if BY_DEFAULT.hides(key)]
        return here + [one for item in value.values() for one in secrets_in(item)]
    return [one for item in value for one in secrets_in(item)] if isinstance(value, list) else []


def test_what_stands_below_a_secret_key_is_replaced_and_the_rest_is_as_it_was() -> None:
    shown = BY_DEFAULT.shown(
        {
            "user": 42,
            "Password": "hunter2",
            "nested": [{"api-key": {"id": 1}, "plan": "pro"}, {"cookies": ["a", "b"]}],
            "accessToken": None,
            "secret": "",
        }
    )
    assert shown == {
        "user": 42,
        "Password": MARK,
        "nested": [{"api-key": MARK, "plan": "pro"}, {"cookies": MARK}],
        "accessToken": None,
        "secret": "",
    }


@given(JSON)
def test_nothing_below_a_secret_key_is_ever_shown(value: JsonValue) -> None:
    shown = BY_DEFAULT.shown(value)
    assert {str(one) for one in secrets_in(shown)} <= {MARK, "None", ""}
    assert BY_DEFAULT.shown(shown) == shown


@given(JSON)
def test_only_what_was_replaced_is_marked(value: JsonValue) -> None:
    replaced = any(one not in {None, ""} if not isinstance(one, list | dict) else True for one in secrets_in(value))
    assert BY_DEFAULT.marked(BY_DEFAULT.shown(value)) is replaced


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("login with password=hunter2 failed", "login with password=[redacted] failed"),
        ("GET https://u:pw@host/x?token=abc&y=1", "GET https://u:[redacted]@host/x?token=[redacted]&y=1"),
        ('{"password": "hun\\"ter2", "a": 1}', '{"password": "[redacted]", "a": 1}'),
        ("{'api_key': 'x y', 'b': 2}", "{'api_key': '[redacted]', 'b': 2}"),
        ('"{\\"secret\\": \\"x\\", \\"b\\": 1}"', '"{\\"secret\\": \\"[redacted]\\", \\"b\\": 1}"'),
        ("{'credentials': {'a': [1], 'b': 2}, 'c': 3}", "{'credentials': [redacted], 'c': 3}"),
        ("Authorization: Basic dTpw\r\nAccept: */*", "Authorization: [redacted]\r\nAccept: */*"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"),
        ("sent bearer eyJhbGciOi.x.y to it", "sent bearer [redacted] to it"),
        ("Invalid API key: sk-123", "Invalid API key: [redacted]"),
        ('{"token": "cut off in the mid', '{"token": "[redacted]'),
        ("b'x' and password=b'abc'", "b'x' and password=b'[redacted]'"),
    ],
)
def test_values_of_secret_keys_are_found_in_texts(told: str, shown: str) -> None:
    assert BY_DEFAULT.text(told) == shown
    assert BY_DEFAULT.text(shown) == shown
    assert BY_DEFAULT.marked({"said": shown})
    assert not BY_DEFAULT.marked({"said": told})


@pytest.mark.parametrize(
    "told",
    [
        "KeyError: 'token'",
        "Unexpected token < in JSON at position 0",
        "token expired: log in again",
        "token=None",
        'the secret is ""',
        "https://host:8080/x@y",
        "a colleague wrote [redacted] here",
    ],
)
def test_texts_that_tell_no_secret_are_as_they_were(told: str) -> None:
    assert BY_DEFAULT.text(told) == told
    assert not BY_DEFAULT.marked({"said": told})


@pytest.mark.parametrize(
    "unit", ["a", "a ", "a=", "token=", '"', 'token="', "token: [", 'token=\\"', "://", "bearer ", " ", "token=(", "x_"]
)
def test_a_text_of_any_size_and_shape_is_read(unit: str) -> None:
    told = unit * (256 * 1024 // len(unit)) + " token"  # takes minutes where the time grows with the square of the size
    shown = BY_DEFAULT.text(told)
    assert (MARK in shown) is (shown != told)


def test_other_words_make_another_digest() -> None:
    assert Redaction.of(["pin"]).digest != BY_DEFAULT.digest
    assert Redaction.of(["Pin", "pin "]).digest == Redaction.of(["pin"]).digest


def test_bodies_are_read_for_people_in_one_way_only() -> None:
    readers = {
        path.stem
        for path in JOBS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "load" and ast.unparse(node.value) == "bodies")
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and "FROM body" in node.value)
    }
    assert readers == {"bodies", "claims", "next_jobs"}


@pytest.mark.parametrize("key", ["pa\tssword", "to\u212aen", "pa\u017fsword", 'pass"word'])
def test_a_key_that_json_writes_otherwise_is_not_passed_over(key: str) -> None:
    assert BY_DEFAULT.hides(key)
    assert BY_DEFAULT.may_hide(to_json({key: "s3cret"}))


def test_what_postgres_says_of_a_unique_key_is_hidden() -> None:
    told = "DETAIL:  Key (api_key)=(sk_live_1) already exists."
    assert BY_DEFAULT.text(told) == f"DETAIL:  Key (api_key)={MARK} already exists."


def test_of_a_key_that_stands_twice_no_value_is_shown() -> None:
    text, _ = dead_letters._body(b'{"password":"s3cret","password":null}', BY_DEFAULT)
    assert "s3cret" not in text


def test_tokens_and_keys_are_known_by_their_looks() -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpM"
    assert BY_DEFAULT.text(f"refused {jwt} of user 7") == f"refused {MARK} of user 7"
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
    assert "MIIEow" not in BY_DEFAULT.text(f"cannot load {pem}")
    assert "MIIEow" not in BY_DEFAULT.text(f"cannot load {pem[:45]}")
    assert BY_DEFAULT.text("eyJust a word") == "eyJust a word"
