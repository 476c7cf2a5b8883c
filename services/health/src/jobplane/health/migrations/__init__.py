"""Alembic revisions of the schema `health`."""
