"""Tests of ``spex_shards.domain``."""
