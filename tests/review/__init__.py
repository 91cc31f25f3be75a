"""Tests of ``spex_shards.review``."""
