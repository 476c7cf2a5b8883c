"""Bringing every service's schema up to date, as the owner of the tables."""

from jobplane.local.credentials import SERVICES


def migrate(owner_url: str) -> None:
    """Run each service's migrations in its own schema. Alembic is loaded here and only here: it costs a second."""
    from jobplane.chassis import migrations  # noqa: PLC0415 - see above

    for service in SERVICES:
        migrations.upgrade(owner_url, service)
