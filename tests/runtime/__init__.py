"""Tests of ``spex_shards.runtime``."""
