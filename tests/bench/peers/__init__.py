"""One module per peer; they run in child processes, perhaps of another Python, and import nothing of the platform."""
