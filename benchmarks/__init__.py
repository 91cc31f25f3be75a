"""The benchmarks: `make bench` measures library, floor and peers in the same run, and writes JSON and a plot."""
