"""Kills real processes at random for minutes, and compares the store with the journals of the applications."""
