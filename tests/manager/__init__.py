"""Tests of ``spex_shards.manager``."""
