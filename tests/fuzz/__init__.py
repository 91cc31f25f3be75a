"""Hostile bytes for everything that reads bytes: `python -m tests.fuzz`, or `make fuzz`."""
