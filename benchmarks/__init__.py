"""Benchmarks of the project's speed and its growth: `make bench`; not part of the wheel."""
