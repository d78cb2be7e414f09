"""Benchmarks: ratios between clients, taken in one run on one machine. See `python -m bench --help`."""
