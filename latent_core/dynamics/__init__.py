"""Exploration dynamics of latent reasoning: what samples of one question do, step by step. numpy alone."""
