"""Kept results: what takes long to compute, computed again only where what it is made of is no longer the same."""
