"""Benchmarks: one command (`make bench`), JSON and a plot, with the floor and peers measured in the same run."""
