"""Tests of ``spex_shards.cli``."""
