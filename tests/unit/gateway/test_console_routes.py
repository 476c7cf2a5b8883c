"""Every screen says who may open it; what nobody thought of is closed."""

from typing import Final

from jobplane.contracts.actors import Role
from jobplane.gateway import auth
from jobplane.gateway.auth import Require
from jobplane.gateway.console import actions, audit, dead_ends, jobs, login, upload, visitor
from jobplane.gateway.console.failures import Screen
from jobplane.gateway.openapi import calls_of, routes_of

SCREENS: Final = routes_of(part.router for part in (login, jobs, upload, actions, audit, dead_ends))
WITHOUT_LOGIN: Final = {("GET", "/admin/login"), ("POST", "/admin/login"), ("POST", "/admin/logout")}
ACTING: Final = {
    ("POST", "/admin/jobs/{job_id}/{verb}"),
    ("GET", "/admin/jobs/{job_id}/cancel"),
    ("POST", "/admin/upload"),
}


def test_every_screen_declares_who_may_open_it() -> None:
    seen = set()
    for route in SCREENS:
        for method in route.methods or ():
            key = (method, route.path_format)
            seen.add(key)
            calls = list(calls_of(route.dependant))
            needs_admin = any(isinstance(call, Require) and call.role is Role.ADMIN for call in calls)
            assert needs_admin is (key in ACTING), key
            assert (visitor._visitor in calls) is (key not in ACTING | WITHOUT_LOGIN), key
    assert seen >= ACTING | WITHOUT_LOGIN


def test_what_changes_something_is_not_open_to_other_sites() -> None:
    for route in SCREENS:
        unsafe = {"POST", "PUT", "PATCH", "DELETE"} & (route.methods or set())
        if not unsafe or route.path_format == "/admin/logout":
            continue  # a log-out identifies its caller, which checks it
        calls = list(calls_of(route.dependant))
        assert auth.same_origin in calls or any(isinstance(call, Require) for call in calls), route.path_format


def test_every_failure_of_a_screen_is_shown_to_people() -> None:
    assert all(isinstance(route, Screen) for route in SCREENS)
