"""Thin Ray actors that hold a latent_core object on a device."""
