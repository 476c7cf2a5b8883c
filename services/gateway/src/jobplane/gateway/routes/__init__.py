"""The REST API: one file per resource; rules live elsewhere."""
