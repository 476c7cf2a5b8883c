"""The schema of the gateway, by Alembic."""
