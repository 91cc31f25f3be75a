"""Tests of ``spex_shards.checking``."""
