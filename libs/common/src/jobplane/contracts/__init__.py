"""Everything that crosses a boundary: commands, events, views, queries, subjects; no I/O and no behaviour beyond shapes."""
