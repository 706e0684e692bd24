"""Pipelines, sweeps, storage, tracking, reports and the command line."""
