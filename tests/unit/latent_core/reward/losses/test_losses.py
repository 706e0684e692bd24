"""Objectives against loops written by hand."""

import math

import pytest
import torch
from torch import Tensor

from latent_core.errors import UserError
from latent_core.reward.losses import LOSSES

QUESTIONS, CANDIDATES, STEPS = 3, 5, 4


def by_hand(name: str, rewards: Tensor, labels: Tensor, mask: Tensor) -> float:
    total = 0.0
    for q in range(len(rewards)):
        steps, of_question = 0, 0.0
        for t in range(rewards.shape[2]):
            here = [n for n in range(rewards.shape[1]) if mask[q, n, t]]
            if not here:
                continue
            steps += 1
            r = {n: float(rewards[q, n, t]) for n in here}
            y = {n: float(labels[q, n, t]) for n in here}
            if name == "outcome":
                y = {n: float(labels[q, n, max(s for s in range(rewards.shape[2]) if mask[q, n, s])]) for n in here}
            if name == "bce":
                chances = {n: 1 / (1 + math.exp(-r[n])) for n in here}
                losses = [-y[n] * math.log(chances[n]) - (1 - y[n]) * math.log(1 - chances[n]) for n in here]
                of_question += sum(losses) / len(here)
                continue
            log_sum = math.log(sum(math.exp(value) for value in r.values()))
            of_question -= sum(y[n] * (r[n] - log_sum) for n in here) / rewards.shape[1]
        total += of_question / max(steps, 1)
    return total / len(rewards)


@pytest.fixture
def case() -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, labels and mask with rows of different lengths, a failed row, and a step whose labels are all 0."""
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(QUESTIONS, CANDIDATES, STEPS, generator=generator)
    labels = torch.randint(0, 5, (QUESTIONS, CANDIDATES, STEPS), generator=generator) / 4
    lengths = torch.tensor([[4, 4, 4, 4, 4], [2, 3, 4, 1, 2], [4, 0, 3, 4, 4]])
    mask = torch.arange(STEPS) < lengths[:, :, None]
    labels[0, :, 1] = 0.0
    return rewards, labels, mask


@pytest.mark.parametrize("name", list(LOSSES))
def test_it_is_what_the_loop_says(name: str, case: tuple[Tensor, Tensor, Tensor]) -> None:
    assert float(LOSSES[name](*case)) == pytest.approx(by_hand(name, *case), rel=1e-5)


@pytest.mark.parametrize("name", list(LOSSES))
def test_what_is_masked_may_hold_anything_and_gets_no_gradient(name: str, case: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, labels, mask = case
    expected = float(LOSSES[name](rewards, labels, mask))
    rewards = rewards.masked_fill(~mask, float("nan")).requires_grad_()
    loss = LOSSES[name](rewards, labels.masked_fill(~mask, float("nan")), mask)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    torch.autograd.backward(loss)
    assert rewards.grad is not None
    assert bool((rewards.grad[~mask] == 0).all())
    assert bool(torch.isfinite(rewards.grad).all())


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_are_the_numerical_ones(name: str, case: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, labels, mask = case
    rewards = rewards.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: LOSSES[name](value, labels.double(), mask), (rewards,))


@pytest.mark.parametrize("name", ["contrastive", "outcome"])
def test_questions_without_a_right_candidate_teach_nothing(name: str) -> None:
    rewards = torch.randn(2, 3, 4).requires_grad_()
    loss = LOSSES[name](rewards, torch.zeros(2, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert rewards.grad is not None
    assert bool((rewards.grad == 0).all())


def test_bce_learns_from_questions_without_a_right_candidate() -> None:
    rewards = torch.zeros(1, 3, 2, requires_grad=True)
    torch.autograd.backward(LOSSES["bce"](rewards, torch.zeros(1, 3, 2), torch.ones(1, 3, 2, dtype=torch.bool)))
    assert rewards.grad is not None
    assert bool((rewards.grad > 0).all())


def test_contrastive_has_its_minimum_where_shares_equal_labels() -> None:
    labels = torch.tensor([0.2, 0.4, 1.0]).reshape(1, 3, 1)
    mask = torch.ones(1, 3, 1, dtype=torch.bool)
    rewards = labels.log().requires_grad_()
    torch.autograd.backward(LOSSES["contrastive"](rewards, labels, mask))
    assert rewards.grad is not None
    torch.testing.assert_close(rewards.grad, torch.zeros(1, 3, 1), atol=1e-7, rtol=0)


def test_contrastive_does_not_care_about_what_all_candidates_share(case: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, labels, mask = case
    moved = rewards + torch.randn(QUESTIONS, 1, STEPS)
    torch.testing.assert_close(LOSSES["contrastive"](moved, labels, mask), LOSSES["contrastive"](*case))


def test_outcome_needs_no_labels_of_earlier_steps() -> None:
    labels = torch.full((1, 2, 3), float("nan"))
    labels[:, :, -1] = torch.tensor([1.0, 0.0])
    mask = torch.ones(1, 2, 3, dtype=torch.bool)
    assert float(LOSSES["outcome"](torch.zeros(1, 2, 3), labels, mask)) == pytest.approx(math.log(2) / 2)
    assert not LOSSES["outcome"].needs_step_labels
    assert all(LOSSES[name].needs_step_labels for name in LOSSES if name != "outcome")


def test_halves_of_a_batch_average_to_the_whole(case: tuple[Tensor, Tensor, Tensor]) -> None:
    whole = LOSSES["contrastive"](*case)
    parts = [LOSSES["contrastive"](*(tensor[q : q + 1] for tensor in case)) for q in range(QUESTIONS)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"must all be \[questions, candidates, steps\]"):
        LOSSES["bce"](torch.zeros(1, 2, 3), torch.zeros(1, 2, 2), torch.ones(1, 2, 3, dtype=torch.bool))


def test_an_unknown_objective_is_named_with_its_neighbour() -> None:
    with pytest.raises(UserError, match="unknown objective 'contrastve': did you mean 'contrastive'"):
        LOSSES["contrastve"]
