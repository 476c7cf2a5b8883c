"""The ports of one start: kept where possible, never two alike."""

import pytest

from jobplane.local import ports


@pytest.fixture
def coming(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What `free_port` gives, one after the other; every port is free."""
    numbers: list[int] = []
    monkeypatch.setattr(ports, "free_port", lambda: numbers.pop(0))
    monkeypatch.setattr(ports, "is_free", lambda _port: True)
    return numbers


def test_no_two_parts_of_a_platform_get_the_same_port(coming: list[int]) -> None:
    coming += [20_001, 20_001, 20_002, 20_002, 20_003]
    assert ports.keep_or_choose({}, ("a", "b", "c")) == {"a": 20_001, "b": 20_002, "c": 20_003}


def test_a_port_of_the_last_start_is_kept(coming: list[int]) -> None:
    coming += [20_007]
    assert ports.keep_or_choose({"b": 20_001}, ("b", "a")) == {"b": 20_001, "a": 20_007}


def test_the_port_of_the_console_is_nobody_elses(coming: list[int]) -> None:
    coming += [20_001, 20_002]
    assert ports.keep_or_choose({"a": 8080}, ("a",), taken=8080) == {"a": 20_001}
    assert ports.keep_or_choose({}, ("a",), taken=20_001) == {"a": 20_002}
