"""Everything that crosses a boundary: commands, events, views, queries, subjects.

No I/O and no behaviour beyond shapes.
"""
