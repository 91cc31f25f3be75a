"""Tests of ``spex_shards.event_log``."""
