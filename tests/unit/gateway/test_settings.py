"""What the gateway accepts as its environment."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from jobplane.gateway.settings import GatewaySettings


def settings(**told: Any) -> GatewaySettings:
    url = SecretStr("x://y")
    needed: dict[str, Any] = {
        "instance": "gateway-1",
        "nats_url": url,
        "relay_nats_url": url,
        "answers_nats_url": url,
        "topology_nats_url": url,
        "database_url": url,
        "object_store_url": "file:///tmp",
    }
    return GatewaySettings(**(needed | told))


def test_only_this_machine_is_answered_by_default() -> None:
    assert settings().hosts == {"127.0.0.1", "localhost", "[::1]"}
    assert settings().secure is False
    assert settings().http_host == "127.0.0.1"


def test_a_public_address_adds_its_name_and_makes_cookies_secure() -> None:
    public = settings(public_url="https://jobs.example.com")
    assert "jobs.example.com" in public.hosts
    assert public.secure is True


@pytest.mark.parametrize("url", ["jobs.example.com", "ftp://x", "https://x/path", "https://"])
def test_a_public_address_is_an_origin(url: str) -> None:
    with pytest.raises(ValidationError, match="must look like"):
        settings(public_url=url)


def test_passwords_are_never_printed() -> None:
    assert "hunter2" not in repr(settings(admin_password=SecretStr("hunter2")))
