"""Benchmarks: `bench.py` measures the rows of results.md, `cost.py` how cost grows."""
