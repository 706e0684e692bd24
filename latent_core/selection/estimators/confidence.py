"""Probability per token of an answer, from its log-probability: the length-normalised confidence of a reasoner."""

import numpy as np

from latent_core.selection.estimators.arrays import FloatArray


def token_probabilities(logprobs: FloatArray, tokens: FloatArray) -> FloatArray:
    """Return exp(logprob / tokens) of answers, of any shape; 0 where the log-probability is NaN."""
    known = ~np.isnan(logprobs)
    found = np.zeros(logprobs.shape)
    found[known] = np.exp(logprobs[known] / np.maximum(tokens[known], 1.0))
    return found
