"""Which processes there are, and that none learns more than it needs."""

from pathlib import Path

import pytest

from jobplane.contracts.topology import USERS
from jobplane.local import credentials, plan
from jobplane.local.addresses import Addresses, as_user, has_user
from jobplane.local.backoff import Backoff, pause
from jobplane.local.data_dir import DataDirectory
from jobplane.local.nats import users_block
from jobplane.local.plan import Child, Site

SECRETS = credentials.fresh()


def site(
    nats: str = "nats://127.0.0.1:4222", database: str = "postgresql://boss:secret@127.0.0.1:5432/jobplane"
) -> Site:
    return Site(
        data=DataDirectory(Path("/data")),
        addresses=Addresses(database, nats, SECRETS.roles, SECRETS.nats_users),
        ports={"jobs": 1, "audit": 2, "health": 3, "gateway": 4},
        http_port=8080,
        local_password=SECRETS.local_password,
        admin_password="first",
    )


def everything(of: Site) -> dict[str, Child]:
    return {child.name: child for child in [*plan.services(of), *plan.workers(of, 2)]}


def test_the_platform_is_four_services_and_the_workers() -> None:
    assert list(everything(site())) == ["jobs", "audit", "health", "gateway", "worker-1", "worker-2"]


def test_who_has_work_to_hand_back_is_stopped_first() -> None:
    assert [child.name for child in everything(site()).values() if child.edge] == ["gateway", "worker-1", "worker-2"]


def test_no_process_learns_the_secrets_of_another() -> None:
    children = everything(site())
    for name, child in children.items():
        told = "\n".join(child.environment.values())
        for role, password in SECRETS.roles.items():
            assert (password in told) == (role == f"jobplane_{name}"), f"{name} and {role}"
    assert SECRETS.postgres_password not in "\n".join(children["worker-1"].environment.values())
    assert "first" in children["gateway"].environment.values()
    assert "JOBPLANE_ADMIN_PASSWORD" not in children["jobs"].environment


def test_the_operators_addresses_reach_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://boss:secret@db/x")
    assert all("boss:secret" not in "".join(child.environment.values()) for child in everything(site()).values())


def test_variables_of_libpq_reach_children_only_with_the_operators_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert all("PGSSLMODE" not in child.environment for child in everything(site()).values())
    assert "PGSSLMODE" not in plan.setup_environment(site(), create_from="")
    monkeypatch.setenv("DATABASE_URL", "postgresql://boss:secret@db/x")
    assert everything(site())["jobs"].environment["PGSSLMODE"] == "verify-full"


def test_an_operators_bus_with_a_user_is_used_as_it_is() -> None:
    of = site(nats="nats://me:mine@bus:4222")
    assert everything(of)["jobs"].environment["JOBPLANE_INTAKE_NATS_URL"] == "nats://me:mine@bus:4222"


def test_an_operators_bus_without_a_user_gets_one_for_each_purpose() -> None:
    of = site(nats="nats://bus:4222")
    told = everything(of)["jobs"].environment["JOBPLANE_INTAKE_NATS_URL"]
    assert told == f"nats://jobs-intake:{SECRETS.nats_users['jobs-intake']}@bus:4222"


def test_credentials_are_replaced_and_the_rest_of_an_address_stays() -> None:
    assert (
        as_user("postgresql://a:b@h:1/db?sslmode=require", "u", "p@/")
        == "postgresql://u:p%40%2F@h:1/db?sslmode=require"
    )
    assert has_user("nats://a:b@h")
    assert not has_user("nats://h")


def test_every_user_of_the_bus_has_exactly_its_declared_rights() -> None:
    block = users_block(USERS, SECRETS.nats_users)
    assert block.count("password:") == len(USERS)
    assert all(f'user: "{user.name}"' in block for user in USERS)


@pytest.mark.parametrize(("crashes", "seconds"), [(1, 0.5), (2, 1), (4, 4), (7, 30), (500, 30)])
def test_the_pause_doubles_up_to_half_a_minute(crashes: int, seconds: float) -> None:
    assert pause(crashes) == seconds


def test_a_minute_of_life_forgives_earlier_crashes() -> None:
    backoff = Backoff()
    backoff.started(0)
    assert [backoff.crashed(1), backoff.crashed(2)] == [0.5, 1.0]
    backoff.started(3)
    assert backoff.crashed(70) == 0.5
