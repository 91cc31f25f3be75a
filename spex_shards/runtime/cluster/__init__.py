"""Shards on several machines: gates let clients in over TCP, directories say where each shard is."""
