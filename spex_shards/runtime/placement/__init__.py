"""Placement by Ray: an actor for each shard, which Ray starts again on another machine when its own is gone.

Only this package imports Ray.
"""
