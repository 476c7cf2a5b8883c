"""What any service stands on, with no domain word in it: settings, logs, traces, bus, database, journal, loops."""
