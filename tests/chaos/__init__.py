"""Faults on purpose: a whole platform under load, broken in every way it promises to survive, then checked."""
