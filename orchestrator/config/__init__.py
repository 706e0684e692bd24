"""Configurations: typed settings, and how they are read."""
