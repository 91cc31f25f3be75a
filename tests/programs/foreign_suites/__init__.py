"""Runs the test suites of other libraries, unmodified, with their machines observed; see `__main__`."""
