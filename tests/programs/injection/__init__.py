"""Signals and finalisers at every line: exceptions and calls in the middle of every public call of a manager.

``python -m tests.programs.injection`` goes through all lines of all calls; the tests go through a part of them. Each
load runs in a process of its own, which kills itself at the end; then its directory is held against what it knew to be
acknowledged.
"""
