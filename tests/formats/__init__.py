"""Tests of ``spex_shards.formats``."""
