"""Counts the instructions and the system calls of transitions, and compares them with recorded counts."""
