"""Adapters: what machines, fields and tasks of other libraries do, reported as observations.

Each module belongs to one library and imports it; importing this package imports none of them. `docs/adapters.md` has a
recipe for each.
"""
