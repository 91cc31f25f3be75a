"""Tests of ``spex_shards.runtime.aio``."""
