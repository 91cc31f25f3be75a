"""Tests of ``spex_shards.engine``."""
