"""Injects exceptions and calls at every line of every public call of a manager, as signals and finalisers may do.

``python -m tests.programs.injection`` covers all lines of all calls; the tests cover a part of them. Each load runs in
a process of its own, which kills itself at the end. Then its directory is compared with its journal of acknowledged
calls.
"""
