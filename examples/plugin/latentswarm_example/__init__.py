"""Kinds for latentswarm from a package of its own; each module registers one when it is imported."""
