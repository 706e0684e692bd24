"""Attention over one shared prompt and the suffix that each sample has of its own: caches, padding and products."""
