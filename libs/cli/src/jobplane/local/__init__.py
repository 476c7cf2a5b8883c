"""The embedded mode: NATS, PostgreSQL and every service as processes of one machine."""
