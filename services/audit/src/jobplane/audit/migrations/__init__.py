"""Alembic revisions of the schema `audit`."""
