"""What the gateway is told by its environment, read once at start."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from jobplane.chassis.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Variables of the gateway; each is `JOBPLANE_` and the name in capitals."""

    relay_nats_url: SecretStr
    """Connection of the relay (user `gateway-relay`)."""
    answers_nats_url: SecretStr
    """Connection that answers with pages of the journal (user `gateway-answers`)."""
    topology_nats_url: SecretStr
    """Connection that creates missing streams at start (user `topology`)."""
    object_store_url: str
    """Where uploaded files go, e.g. ``file:///var/lib/jobplane/objects``."""
    http_host: str = "127.0.0.1"
    """Address to listen on."""
    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on."""
    environment: str = Field(default="local", max_length=20)
    """Shown as a badge in the console, so that nobody mistakes one installation for another."""
    public_url: str | None = None
    """How browsers reach the gateway, if not directly; with ``https`` cookies become `__Host-` and `Secure`."""
    admin_password: SecretStr | None = None
    """Password of the account `admin`, made at the first start."""
    local_password: SecretStr | None = None
    """Password of the account `local`, which the command line on this machine uses."""
    session_hours: float = Field(default=12, gt=0, le=24 * 30)
    """How long a session of the console lasts."""
    token_minutes: float = Field(default=60, gt=0, le=24 * 60)
    """How long a bearer token lasts."""
    requests_per_s: float = Field(default=5000, gt=0)
    """Sustained requests per second and account."""
    login_attempts: int = Field(default=10, ge=1)
    """Failed logins in a row per name and address before further ones must wait."""

    @model_validator(mode="after")
    def _public_url_is_an_origin(self) -> Self:
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
                msg = "must look like https://jobs.example.com"
                raise ValueError(msg)
        return self

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by https."""
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def hosts(self) -> frozenset[str]:
        """Host names that requests may name: this machine's own, and the public one."""
        own = {"127.0.0.1", "localhost", "[::1]"}
        public = urlsplit(self.public_url).hostname if self.public_url else None
        return frozenset(own | {public} if public else own)
