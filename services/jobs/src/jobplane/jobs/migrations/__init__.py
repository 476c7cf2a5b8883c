"""The schema of the jobs service, one revision per file."""
