"""The `jobplane` command: the platform on this machine, and its jobs from a terminal."""
