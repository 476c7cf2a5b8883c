"""Whether nobody may do more than its part: roles of the database, and users of the bus."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from jobplane.chassis import bus
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers, as_user
from jobplane.contracts.errors import JobplaneError
from jobplane.local.addresses import has_user
from jobplane.local.credentials import SERVICES, role_of

_AREA: Final = Area("permissions")
_APPEND_ONLY: Final = {"jobs": ("event",), "gateway": ("event",), "audit": ("audit_log",)}
_ROLE: Final = """
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls,
    (SELECT count(*) FROM pg_class WHERE relowner = role.oid),
    ARRAY(SELECT name FROM unnest(%(others)s::text[]) AS name
        WHERE to_regnamespace(name) IS NOT NULL AND has_schema_privilege(role.oid, name, 'USAGE') ORDER BY name),
    ARRAY(SELECT name FROM unnest(%(tables)s::text[]) AS name
        WHERE to_regclass(name) IS NOT NULL
            AND has_table_privilege(role.oid, to_regclass(name), 'UPDATE, DELETE, TRUNCATE') ORDER BY name)
FROM pg_roles AS role WHERE rolname = %(role)s
"""
_DENIED_S: Final = 0.7
# A stream would refuse it for both reasons: asking changes nothing even where it is allowed.
_HARMLESS: Final = {"Nats-Expected-Stream": "NONE", "Nats-Expected-Last-Sequence": str(2**62)}
_FORBIDDEN: Final = (("worker", "jobs.evt.0._.doctor"), ("gateway", "admin.evt.doctor.doctor"))
"""Users, and event subjects that only a relay may publish to."""


async def check(servers: Servers) -> list[Finding]:
    """Roles, then users."""
    found = [await _role(servers, service) for service in SERVICES if servers.has(service)]
    return [*found, *await _bus(servers)]


async def _role(servers: Servers, service: str) -> Finding:
    values = {
        "role": role_of(service),
        "others": [other for other in SERVICES if other != service],
        "tables": [f"{service}.{table}" for table in _APPEND_ONLY.get(service, ())],
    }
    return role(service, await servers.row(service, _ROLE, values))


def role(service: str, row: Sequence[Any]) -> Finding:
    """What the role of a service may do, from a row of `_ROLE`: attributes, tables owned, schemas, tables."""
    name = f"role {role_of(service)}"
    if not row:
        says = "does not exist: the service must use another role, which is not examined"
        return _AREA.warning(name, says, f"Give the service the role {role_of(service)}: `jobplane up` makes it.")
    attributes, owned, schemas, tables = row
    faults = []
    if attributes:
        faults.append("is a superuser or may create roles, databases or bypass row security")
    if owned:
        faults.append(f"owns {owned} tables or indexes")
    if schemas:
        faults.append(f"may use the schemas {', '.join(schemas)}")
    if tables:
        faults.append(f"may change or delete rows of {', '.join(tables)}")
    if faults:
        advice = (
            "Take that away (REVOKE, ALTER ROLE, REASSIGN OWNED): whoever takes over the service could rewrite history."
        )
        return _AREA.failure(name, "; ".join(faults), advice)
    return _AREA.ok(name, "owns nothing, sees its own schema" + (", only adds" if service in _APPEND_ONLY else ""))


async def _bus(servers: Servers) -> list[Finding]:
    site = servers.site
    if isinstance(servers.nc, str):
        return []
    if site.credentials is None or has_user(site.nats):
        says = "one user does everything (NATS_URL names it)"
        advice = (
            "Declare the users of contracts/topology.py, so that a part that is taken over can only do its own part."
        )
        return [_AREA.warning("bus users", says, advice)]
    found = await asyncio.gather(*(_may_not_publish(servers, user, subject) for user, subject in _FORBIDDEN))
    return [finding for finding in found if finding is not None]


async def _may_not_publish(servers: Servers, user: str, subject: str) -> Finding | None:
    """Ask for what is forbidden; a user that does not get in is told by another check."""
    try:
        nc = await as_user(servers.site, user)
    except JobplaneError:
        return None
    try:
        await nc.request(subject, b"{}", timeout=_DENIED_S, headers=_HARMLESS)
        denied = False
    except NoRespondersError:
        denied = False
    except (NatsError, TimeoutError):
        denied = True
    finally:
        await bus.close(nc)
    if denied:
        return _AREA.ok(f"bus user {user}", "is denied what only a relay may publish")
    says = f"may publish to {subject.rsplit('.', 2)[0]}.>, which only a relay may"
    advice = "Give the users the permissions of nats-users.conf: anybody could forge events."
    return _AREA.failure(f"bus user {user}", says, advice)
