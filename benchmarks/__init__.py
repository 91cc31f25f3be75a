"""The benchmarks: `make bench` measures library, floor and peers in one run, and compares them with the targets."""
