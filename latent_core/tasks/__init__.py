"""Benchmarks: where questions come from and how answers are read."""
