"""Tests of ``spex_shards.render``."""
