"""Objectives of sweeps, found by name: a new one is a new file here with a class under `@register_objective(...)`."""
