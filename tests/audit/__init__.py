"""Tests of ``spex_shards.audit``."""
