"""Answer counts: which samples of a question agree, and which of its answers are right."""

import numpy as np

from latent_core.selection.estimators.arrays import BoolArray, IntArray


def dense_ranks(votes: IntArray) -> IntArray:
    """Renumber the codes [Q, N] of every question as 0, 1, 2, ...; abstentions stay -1."""
    order = votes.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(votes, order, axis=1)
    # Abstentions sort first and open no class, so the running count of classes is still -1 over them.
    opens = np.diff(ordered, axis=1, prepend=-1) > 0
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, opens.cumsum(axis=1) - 1, axis=1)
    return ranks


def answer_counts(ranks: IntArray, correct: BoolArray) -> tuple[IntArray, BoolArray]:
    """How many samples give each answer, and whether it is right; both [Q, classes].

    Raises:
        ValueError: If an answer is called right in one sample of a question and wrong in another.
    """
    questions, classes = len(ranks), max(1, int(ranks.max(initial=-1)) + 1)
    address = (np.arange(questions)[:, None] * classes + ranks)[ranks >= 0]
    given = np.bincount(address, minlength=questions * classes)
    right = np.bincount(address, weights=correct[ranks >= 0], minlength=questions * classes)
    disputed = (right > 0) & (right < given)
    if disputed.any():
        q = int(disputed.argmax()) // classes
        raise ValueError(f"question {q}: the same answer is called right in one sample and wrong in another")
    return given.reshape(questions, classes), (right > 0).reshape(questions, classes)
