"""What is shown of a trajectory is what a plain loop computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import latent_head_tensors, projector_tensors, save_checkpoint_of
from trainers import plain_loop

from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.inspection.thoughts import think
from latent_core.models import LatentReasoner
from latent_core.samplers.none import NoSampling
from latent_core.tasks.base import Problem

QUESTION = "ann has 12 pens . buys 3 pens ?"


def plain_latents(reasoner: LatentReasoner, steps: int) -> np.ndarray:  # type: ignore[type-arg]
    checkpoint = reasoner.checkpoint
    plain = type(reasoner.model).from_pretrained(checkpoint.directory, attn_implementation="eager").eval()
    prompt = checkpoint.prompt_ids(QUESTION)
    embed = plain.get_input_embeddings()
    latents, _ = plain_loop(plain, embed, reasoner.feedback, prompt, steps, checkpoint.end_id)
    return latents.numpy().astype(np.float64)


@pytest.mark.parametrize("feedback", ["identity", "projector"])
def test_norms_angles_and_words(feedback: str, tmp_path: Path) -> None:
    tensors = projector_tensors() if feedback == "projector" else None
    reasoner = LatentReasoner.from_pretrained(
        str(save_checkpoint_of(tmp_path / "one", "llama", {"feedback": feedback}, tensors))
    )
    thoughts = think(reasoner, QUESTION)
    latents = plain_latents(reasoner, 3)
    assert [step.number for step in thoughts.steps] == [1, 2, 3]
    norms = np.linalg.norm(latents, axis=1)
    np.testing.assert_allclose([step.norm for step in thoughts.steps], norms, rtol=1e-4)
    assert thoughts.steps[0].cosine is None
    cosines = (latents[1:] * latents[:-1]).sum(axis=1) / norms[1:] / norms[:-1]
    np.testing.assert_allclose([step.cosine for step in thoughts.steps[1:]], cosines, atol=1e-4)
    head = reasoner.model.get_output_embeddings().weight.double().numpy()
    for step, vector in zip(thoughts.steps, latents, strict=True):
        scores = head @ vector
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        best = np.argsort(-shares)[:5]
        assert [token.text for token in step.near] == [reasoner.checkpoint.tokenizer.decode([one]) for one in best]
        np.testing.assert_allclose([token.probability for token in step.near], shares[best], rtol=1e-3)


def test_the_answer_is_that_of_a_greedy_run() -> None:
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    question = "Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?"
    thoughts = think(reasoner, question)
    problem = Problem("one", question, "35")
    (row,) = sample_trajectories(reasoner, NoSampling(), [problem], range(1), latent_steps=6, answer_tokens=32, seed=3)
    assert row.correct
    assert (thoughts.answer_text, thoughts.answer, thoughts.extracted) == (row.answer_text, "35", "35")
    assert thoughts.answer_tokens == row.answer_tokens
    assert thoughts.prompt_tokens == len(reasoner.checkpoint.prompt_ids(question))
    assert (len(thoughts.steps), thoughts.error) == (6, None)


def test_another_number_of_steps(tiny_reasoner: LatentReasoner) -> None:
    assert len(think(tiny_reasoner, QUESTION, latent_steps=2, near=3).steps[0].near) == 3
    assert len(think(tiny_reasoner, QUESTION, latent_steps=2).steps) == 2
    with pytest.raises(UserError, match=r"--steps: at least one latent step is needed \(got 0\)"):
        think(tiny_reasoner, QUESTION, latent_steps=0)
    with pytest.raises(UserError, match="latent steps \\+ end token"):
        think(tiny_reasoner, QUESTION, latent_steps=90)


def test_an_adaptive_length_ends_where_the_model_wants(tmp_path: Path) -> None:
    directory = save_checkpoint_of(
        tmp_path / "one",
        "llama",
        {"feedback": "latent_head", "latent_length": "adaptive", "latent_steps": 5},
        latent_head_tensors(),
    )
    reasoner = LatentReasoner.from_pretrained(str(directory))
    head = reasoner.model.get_output_embeddings().weight
    assert len(think(reasoner, QUESTION).steps) == 5
    latents = plain_latents(reasoner, 2)
    # A row of the output head that wins behind the second latent, and nowhere before.
    plain = type(reasoner.model).from_pretrained(directory, attn_implementation="eager").eval()
    prompt = torch.tensor([reasoner.checkpoint.prompt_ids(QUESTION)])
    embedded = torch.cat([plain.get_input_embeddings()(prompt), torch.tensor(latents[None], dtype=torch.float32)], 1)
    with torch.inference_mode():
        hidden = plain(inputs_embeds=embedded, output_hidden_states=True).hidden_states[-1][0, prompt.shape[1] - 1 :]
        centre = hidden[:2].mean(dim=0)
        head[reasoner.checkpoint.end_id] = 1e3 * (hidden[2] - centre)
        wanted = [bool((head @ one).argmax() == reasoner.checkpoint.end_id) for one in hidden]
    assert wanted == [False, False, True]
    assert len(think(reasoner, QUESTION).steps) == 2


def test_a_vector_that_is_no_number_is_said(tmp_path: Path) -> None:
    reasoner = LatentReasoner.from_pretrained(str(save_checkpoint_of(tmp_path / "one", "gpt2", {})))
    with torch.inference_mode():
        reasoner.model.get_submodule("transformer.ln_f").weight[0] = float("inf")
    thoughts = think(reasoner, QUESTION)
    assert thoughts.error == "non-finite latent at step 1"
    assert (thoughts.steps, thoughts.answer) == ((), None)
