"""The health service: how every process, server, stream and queue of the platform is, and what to do about it."""
