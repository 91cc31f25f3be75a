"""Wrappers for the operating system: descriptors, processes, private files, waits."""
