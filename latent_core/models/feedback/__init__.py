"""Feedback heads: what turns the last hidden state into the next input. One file each, found by name."""

from latent_core.models.feedback.base import FEEDBACKS, Feedback

__all__ = ["FEEDBACKS", "Feedback"]
