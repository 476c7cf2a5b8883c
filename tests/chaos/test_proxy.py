"""The fault proxy does what its weather says."""

import socket
import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.chaos.proxy import Proxy, Weather
from tests.chaos.wishes import operations

_STARTUP = b"\x00\x00\x00\x00user\x00jobplane_jobs\x00database\x00jobplane\x00\x00"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy in front of a server that answers every byte with the same byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    with_faults = Proxy(listener.getsockname()[1])
    yield with_faults
    with_faults.close()
    listener.close()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            return


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5)


def _said(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(4096)


def test_fine_weather_changes_nothing(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        assert _said(client, b"hello") == b"hello"


def test_latency_is_felt_both_ways(proxy: Proxy) -> None:
    proxy.set(Weather(latency_s=0.05))
    with _connect(proxy) as client:
        began = time.monotonic()
        assert _said(client, b"hello") == b"hello"
        assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("weather", [Weather(swallow_up=True), Weather(swallow_down=True), Weather(hold_at=b"hello")])
def test_a_half_open_connection_stays_open_and_silent_until_it_is_cut(proxy: Proxy, weather: Weather) -> None:
    with _connect(proxy) as client:
        proxy.set(weather)
        with pytest.raises(TimeoutError):
            _said(client, b"hello")
        proxy.clear()
        assert _ended(client)
    with _connect(proxy) as client:
        assert _said(client, b"hello") == b"hello"


def test_a_silent_connection_does_not_hinder_a_new_one(proxy: Proxy) -> None:
    with _connect(proxy) as old, _connect(proxy) as new:
        assert _said(old, b"hello") == b"hello"
        assert proxy.strand() == 2
        with pytest.raises(TimeoutError):
            _said(old, b"hello")
        with _connect(proxy) as third:
            assert _said(third, b"hello") == b"hello"
        with pytest.raises(TimeoutError):
            _said(new, b"hello")


def test_a_word_can_be_let_through_and_its_answer_swallowed(proxy: Proxy) -> None:
    weather = proxy.set(Weather(swallow_after=b"COMMIT"))
    with _connect(proxy) as client:
        assert _said(client, b"BEGIN") == b"BEGIN"
        with pytest.raises(TimeoutError):
            _said(client, b"COMMIT")
        assert weather.held.is_set()


def test_only_the_named_user_is_refused(proxy: Proxy) -> None:
    proxy.set(Weather(users=frozenset({"jobplane_jobs"}), refuse=True))
    with _connect(proxy) as other:
        assert _said(other, b'CONNECT {"user": "gateway"}') == b'CONNECT {"user": "gateway"}'
    with _connect(proxy) as client:
        client.sendall(_STARTUP)
        assert _ended(client)


def _ended(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_the_same_seed_asks_for_the_same() -> None:
    first, again, other = (list(islice(operations(seed, "client1", 0.1), 50)) for seed in ("a 1", "a 1", "a 2"))
    assert first == again
    assert first != other
