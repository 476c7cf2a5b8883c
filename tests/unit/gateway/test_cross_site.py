"""Where a request comes from, as far as browsers tell."""

import pytest
from starlette.datastructures import Headers

from jobplane.contracts.errors import Refused
from jobplane.gateway import cross_site

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]", "jobs.example.com"})
OURS = {"host": "127.0.0.1:8080"}


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:8080", "[::1]:8080", "[::1]", "jobs.example.com:443"])
def test_our_own_names_are_fine(host: str) -> None:
    cross_site.check_host(Headers({"host": host}), HOSTS)
    assert cross_site.host_name(host) in HOSTS


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "[::2]", "127.0.0.1.", "[::1"])
def test_other_names_are_refused(host: str) -> None:
    with pytest.raises(Refused, match="host_not_allowed"):
        cross_site.check_host(Headers({"host": host}), frozenset({"127.0.0.1", "localhost"}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "https://jobs.example.com"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_our_own_pages_and_programs_may_send(headers: dict[str, str]) -> None:
    cross_site.check_same_origin("POST", Headers(OURS | headers), "https://jobs.example.com")
    assert headers.get("sec-fetch-site") != "cross-site"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8080"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:9090"},
        {"origin": "http://127.0.0.1:8080.evil.example"},
        {"origin": "http://[::1"},
    ],
)
def test_other_sites_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match="cross_site"):
        cross_site.check_same_origin("DELETE", Headers(OURS | headers), "https://jobs.example.com")
    cross_site.check_same_origin("GET", Headers(OURS | headers), None)
