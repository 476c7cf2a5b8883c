"""Who a request comes from, as far as browsers tell: the Host it names, and whether another site made it.

The cross-site check follows Filippo Valsorda's analysis for Go 1.25 (`http.CrossOriginProtection`): `Sec-Fetch-Site`
decides where a browser sends it, else `Origin` must be our own; without both it was no browser, which nobody can trick.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from jobplane.contracts.errors import Refused

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def host_name(host: str) -> str:
    """The name in a Host header without its port; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def check_host(headers: Headers, allowed: Collection[str]) -> None:
    """Refuse names that are not ours, so that no foreign name can be rebound to this machine.

    Raises:
        Refused: `host_not_allowed`.
    """
    if host_name(headers.get("host", "")) not in allowed:
        raise Refused("host_not_allowed", "This server does not answer for that host name. See JOBPLANE_PUBLIC_URL.")


def check_same_origin(method: str, headers: Headers, public_url: str | None) -> None:
    """Refuse what another site makes a browser send.

    Raises:
        Refused: `cross_site`.
    """
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    if site is not None:
        same = site in {"same-origin", "none"}
    else:
        origin = headers.get("origin")
        same = origin is None or _is_own(origin, headers.get("host", ""), public_url)
    if not same:
        raise Refused("cross_site", "Another site made this request. Open the console itself and do it there.")


def _is_own(origin: str, host: str, public_url: str | None) -> bool:
    try:
        netloc = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    if public_url is not None and origin.rstrip("/").lower() == public_url.rstrip("/").lower():
        return True
    return bool(netloc) and netloc == host.lower()
