"""The audit service: folds every event of every stream into the AuditLog, and answers questions about it."""
