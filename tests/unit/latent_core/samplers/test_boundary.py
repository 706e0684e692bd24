"""Scope "boundary": every sample reads the prompt's last position for itself, and shares what precedes it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.reward.annotation import annotate
from latent_core.samplers import Sampler, parse_sampler
from latent_core.samplers.base import DrawSite, Phase, Projection, Site
from latent_core.tasks.base import Problem

STEPS, TOKENS, SEED, SAMPLES = 3, 4, 7, 3
P = 0.3
SITES = {Site.FEED_FORWARD: "mlp", Site.ATTENTION: "attn.c_proj"}
"""Where the sites are in the stock class."""


def dropout(scope: tuple[str, ...] = ("boundary", "latent"), **settings: Any) -> Sampler:
    return parse_sampler({"kind": "mc_dropout", "p": P, "scope": list(scope), **settings})


@pytest.fixture(scope="module")
def prompts(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> list[list[int]]:
    return [tiny_reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]


def names(prompts: list[list[int]]) -> list[str]:
    return [f"question-{number}" for number in range(len(prompts))]


class PlainLoop:
    """One row as one would first write it: everything is computed anew at every position, by the stock class."""

    def __init__(self, directory: Path, sites: tuple[Site, ...], steps: range, last_fed: bool = True) -> None:
        """Drop after sites at the steps given; `last_fed`: also while the last latent is fed."""
        self.model: Any = GPT2LMHeadModel.from_pretrained(directory, attn_implementation="eager").eval()
        self.steps, self.last_fed = steps, last_fed
        self.masks: dict[tuple[Site, int], Tensor] = {}
        for layer, block in enumerate(self.model.transformer.h):
            for site in sites:
                block.get_submodule(SITES[site]).register_forward_hook(self._hook(site, layer))

    def _hook(self, site: Site, layer: int) -> Any:
        return lambda _module, _inputs, output: output * self.masks[site, layer][:, : output.shape[1]]

    @torch.no_grad()
    def run(self, prompt: list[int], name: str, sample: int, end_id: int, sites: tuple[Site, ...]) -> Any:
        """Latents [T, width], and the logits of the answer tokens [TOKENS, vocabulary]."""
        width, layers = self.model.config.n_embd, len(self.model.transformer.h)
        one = Streams.for_questions(SEED, [name])
        streams = Streams(one.key, torch.tensor([sample]), one.rollout)
        for layer in range(layers):
            for site in sites:
                mask = torch.ones(1, len(prompt) + STEPS + TOKENS, width)
                for step in self.steps:
                    if step < STEPS or self.last_fed:
                        drawn = streams.keep_mask(step, DrawSite.in_layer(site, layer), width, P)
                        mask[:, len(prompt) - 1 + step] = drawn
                self.masks[site, layer] = mask
        embed = self.model.get_input_embeddings()
        sequence, latents, logits, following = embed(torch.tensor([prompt])), [], [], end_id
        for _ in range(STEPS):
            latents.append(self.model.transformer(inputs_embeds=sequence, use_cache=False).last_hidden_state[:, -1])
            sequence = torch.cat([sequence, latents[-1][:, None]], dim=1)
        for _ in range(TOKENS):
            sequence = torch.cat([sequence, embed(torch.tensor([[following]]))], dim=1)
            logits.append(self.model(inputs_embeds=sequence, use_cache=False).logits[0, -1])
            following = int(logits[-1].argmax())
        return torch.cat(latents), torch.stack(logits)


@pytest.mark.parametrize("sites", [(Site.FEED_FORWARD,), (Site.FEED_FORWARD, Site.ATTENTION)], ids=len)
@pytest.mark.parametrize("scope", [("boundary", "latent"), ("boundary",), ("latent",)], ids="+".join)
def test_every_row_is_that_of_a_plain_loop(
    tiny_reasoner: LatentReasoner,
    tiny_checkpoint: Path,
    prompts: list[list[int]],
    scope: tuple[str, ...],
    sites: tuple[Site, ...],
) -> None:
    """Prompts of several lengths side by side; the last position is really run per row."""
    engine = RolloutEngine(tiny_reasoner, dropout(scope, sites=list(sites)))
    state = engine.start(prompts, names(prompts), SEED, range(SAMPLES))
    first = state.hidden
    for _ in range(STEPS):
        state = engine.step(state)
    answers = engine.decode(state, TOKENS, stop_at_end=False, keep_logits=True)
    assert answers.logits is not None
    steps = range(0 if "boundary" in scope else 1, STEPS + 1 if "latent" in scope else 1)
    loop = PlainLoop(tiny_checkpoint, sites, steps)
    end_id = tiny_reasoner.checkpoint.end_id
    for row in range(state.rows):
        question, sample = divmod(row, SAMPLES)
        latents, logits = loop.run(prompts[question], names(prompts)[question], sample, end_id, sites)
        torch.testing.assert_close(first[row], latents[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(state.latents[row], latents, atol=1e-4, rtol=0)
        torch.testing.assert_close(answers.logits[row], logits, atol=1e-3, rtol=1e-4)
        assert answers.token_ids[row].tolist() == logits.argmax(dim=-1).tolist()
    # Samples differ from the first latent on exactly where the boundary is in scope.
    assert torch.equal(first[0], first[1]) == ("boundary" not in scope)


def test_the_last_latent_is_fed_back_under_masks_too(
    tiny_reasoner: LatentReasoner, tiny_checkpoint: Path, prompts: list[list[int]]
) -> None:
    """Published code switches dropout off before: that shows in the answer alone, and is not what happens here."""
    engine, sites = RolloutEngine(tiny_reasoner, dropout(("latent",))), (Site.FEED_FORWARD,)
    state = engine.start(prompts[:1], names(prompts[:1]), SEED, range(4))
    for _ in range(STEPS):
        state = engine.step(state)
    found = engine.decode(state, TOKENS, stop_at_end=False, keep_logits=True).logits
    assert found is not None
    arguments = prompts[0], names(prompts)[0], 0, tiny_reasoner.checkpoint.end_id, sites
    latents, masked = PlainLoop(tiny_checkpoint, sites, range(1, STEPS + 1)).run(*arguments)
    switched_off = PlainLoop(tiny_checkpoint, sites, range(1, STEPS + 1), last_fed=False)
    published_latents, published = switched_off.run(*arguments)
    assert torch.equal(latents, published_latents)
    torch.testing.assert_close(found[0], masked, atol=1e-4, rtol=0)
    assert float((found[0, 0] - published[0]).abs().max()) > 5e-3


@pytest.mark.parametrize("settings", [{}, {"mask": "trajectory"}, {"sites": [site.value for site in Site]}], ids=str)
def test_rows_have_the_same_bits_in_other_batches(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], settings: dict[str, Any]
) -> None:
    sampler, sizes = dropout(**settings), {"latent_steps": STEPS, "answer_tokens": TOKENS, "seed": SEED}
    alone = sample_trajectories(tiny_reasoner, sampler, problems[1:2], range(2, 6), **sizes)
    together = sample_trajectories(tiny_reasoner, sampler, problems, range(8), **sizes)
    for one, other in zip(alone, list(together)[8 + 2 : 8 + 6], strict=True):
        assert one.latents is not None
        assert other.latents is not None
        assert one.latents.tobytes() == other.latents.tobytes()
        assert one.answer_ids == other.answer_ids


def test_an_attention_mask_of_the_boundary_belongs_to_keys() -> None:
    sampler = dropout(sites=["attention_weights"])
    streams, weights = Streams.for_questions(SEED, ["a"]), torch.ones(1, 2, 1, 6)
    acting = sampler.perturbation(Phase.BOUNDARY, streams, 0)
    assert acting is not None
    found = acting.on_attention_weights(0, weights, torch.tensor([[5]]), torch.arange(6)[None])
    drawn = streams.keep_mask(0, DrawSite.in_layer(Site.ATTENTION_WEIGHTS, 0), 12, P).reshape(6, 2).T
    assert torch.equal(found[0, :, 0], drawn)


def test_what_samples_share_and_what_they_cost(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    """The prompt without its last position is computed once, and that position once a sample."""
    sizes = {"latent_steps": STEPS, "answer_tokens": TOKENS, "seed": SEED}
    flops, prompt = tiny_reasoner.flops, len(tiny_reasoner.checkpoint.prompt_ids(problems[0].question))
    latent = sample_trajectories(tiny_reasoner, dropout(("latent",)), problems[:1], range(4), **sizes)
    found = sample_trajectories(tiny_reasoner, dropout(), problems[:1], range(4), **sizes)
    last = flops.per_token + flops.per_token_and_key * prompt
    assert found.prompt_flops.tolist() == [flops.prompt(prompt) - last] * 4
    written = flops.trajectory(prompt, STEPS, 1, 0)
    own = [written + last + flops.trajectory(prompt + STEPS + 1, 0, 0, n) for n in found.answer_tokens.tolist()]
    assert found.flops.tolist() == pytest.approx(own, rel=0.02)
    for one, other in zip(found, latent, strict=True):
        if one.answer_tokens == other.answer_tokens:
            assert one.flops == other.flops + last


def test_projections_of_the_boundary_are_perturbed_and_counted(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]]
) -> None:
    """A prompt that is read whole, its last position alone perturbed, is the same state."""
    settings = {"kind": "singular_value", "alpha": 0.3, "projection": "feed_forward_output"}
    engine = RolloutEngine(tiny_reasoner, parse_sampler({**settings, "scope": ["boundary", "latent"]}))
    one = engine.step(engine.start(prompts[:1], ["a"], SEED, range(4)))
    whole = RolloutEngine(tiny_reasoner, parse_sampler({**settings, "scope": ["latent"]}))
    plain = whole.start(prompts[:1], ["a"], SEED, range(4))
    assert (one.next_step, one.suffix_length, plain.next_step) == (2, 2, 1)
    assert not torch.allclose(one.latents[0], one.latents[1])
    width = engine.reasoner.model.config.n_embd
    inner = engine.reasoner.modules.factors(Projection.FEED_FORWARD_OUTPUT, 0).left.shape[0]
    per_position = 2.0 * 2 * min(width, inner) * (width + inner)
    assert engine.perturbation_flops(len(prompts[0]), STEPS) == (1 + STEPS) * per_position
    assert engine.perturbation_flops(0, STEPS) == STEPS * per_position


def test_candidates_are_annotated(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    """Candidates are the samples of a run, and their completions branch off behind the boundary."""
    sizes = {"latent_steps": STEPS, "answer_tokens": TOKENS, "seed": SEED}
    labelled = annotate(tiny_reasoner, dropout(), problems[:2], 4, 2, **sizes)
    sampled = sample_trajectories(tiny_reasoner, dropout(), problems[:2], range(4), **sizes)
    for candidate, sample in zip(labelled.trajectories, sampled, strict=True):
        assert candidate.answer_ids == sample.answer_ids


@pytest.mark.parametrize("kind", [{"kind": "mc_dropout", "p": 0.1}, {"kind": "singular_value", "alpha": 0.1}], ids=str)
def test_the_boundary_is_part_of_the_prompt(kind: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"sampler\.scope: .*name prompt or boundary, not both"):
        parse_sampler({**kind, "scope": ["prompt", "boundary"]})
    assert parse_sampler({**kind, "scope": ["latent", "boundary"]}).to_config()["scope"] == ["boundary", "latent"]


def test_a_prompt_of_one_token_is_refused(tiny_reasoner: LatentReasoner) -> None:
    engine = RolloutEngine(tiny_reasoner, dropout())
    with pytest.raises(ValueError, match="question 'b': its prompt is one token"):
        engine.start([[1, 2], [1]], ["a", "b"], SEED, range(4))


def test_nothing_is_read_apart_where_nothing_is_dropped() -> None:
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.0, "scope": ["boundary"]})
    assert not sampler.perturbs_boundary
    assert sampler.own_prompt_tokens(9) == 0
    assert dropout().own_prompt_tokens(9) == 1
    assert dropout(("prompt",)).own_prompt_tokens(9) == 9
