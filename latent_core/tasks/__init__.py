"""Benchmarks: where questions come from."""
