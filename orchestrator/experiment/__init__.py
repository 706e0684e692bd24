"""Experiments: what run and sweep share, from the plan to the last word."""
