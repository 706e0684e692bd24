"""The plain loop that the engine is compared with: prompts repeated, a growing cache, decoding to the slowest row.

This is the published shape of a latent rollout: every rollout reads its prompt and its own past again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.cache_utils import DynamicCache

from latent_core.models.checkpoint import Checkpoint
from latent_core.randomness import Streams
from latent_core.samplers.base import Sampler


class PlainLoop:
    """A reasoner with the attention of the library and nothing shared."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the weights."""
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint.directory)
        self.checkpoint, self.model = checkpoint, model.eval()

    @torch.inference_mode()
    def roll_out(
        self, prompt: Sequence[int], past: Tensor, streams: Streams, sampler: Sampler, steps: int, answer_tokens: int
    ) -> tuple[Tensor, Tensor]:
        """Roll out a batch of rows of one question, each from its own past.

        Args:
            prompt: Token ids of the question's prompt.
            past: Latents that were taken already, [rows, t, hidden size].
            streams: The random streams of the rows.
            sampler: Perturbs the further latents; one that acts on latents only.
            steps: T, latent steps in all.
            answer_tokens: Longest answer in tokens.

        Returns:
            All latents [rows, T, hidden size], and answer tokens int64 [rows, longest answer].
        """
        rows = len(past)
        embed = self.model.get_input_embeddings()
        cache = DynamicCache()
        inputs = torch.cat([embed(torch.tensor(prompt)).expand(rows, -1, -1), past], dim=1)
        hidden = self._forward(inputs, cache)
        latents = past
        for step in range(past.shape[1] + 1, steps + 1):
            latent = sampler.perturb_latent(hidden, streams, step)
            latents = torch.cat([latents, latent[:, None]], dim=1)
            hidden = self._forward(latent[:, None], cache)
        end_of_text = int(self.checkpoint.tokenizer.eos_token_id)
        tokens = torch.full((rows,), self.checkpoint.end_id)
        finished = torch.zeros(rows, dtype=torch.bool)
        written: list[Tensor] = []
        while len(written) < answer_tokens and not bool(finished.all()):
            hidden = self._forward(embed(tokens)[:, None], cache)
            tokens = self.model.get_output_embeddings()(hidden).argmax(-1).masked_fill(finished, end_of_text)
            finished = finished | (tokens == end_of_text)
            written.append(tokens)
        return latents, torch.stack(written, dim=1) if written else torch.zeros(rows, 0, dtype=torch.int64)

    def _forward(self, inputs: Tensor, cache: DynamicCache) -> Tensor:
        output = self.model.base_model(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
        last: Tensor = output.last_hidden_state[:, -1]
        return last
