"""Commands, workers, operations and time in any order, twice, and with crashes, against a model in plain Python."""
