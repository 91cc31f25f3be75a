"""Hostile bytes for everything that reads bytes: `python -m tests.programs.fuzz`, or `make fuzz`."""
