"""`jobplane verify`: the platform's invariants, read from the journals, the bus and the AuditLog themselves."""
