"""The plain loop in the shape in which latent rollouts are published, for the benchmark of whole rollouts.

Prompts are padded on the left and repeated N times, a cache grows by concatenation, every pass computes logits of all
its positions, native dropout modules are switched on for the latent steps, and answers are written until the slowest
row is done.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache


class PlainRollout:
    """A causal language model of the library, as it comes, and a loop around it."""

    def __init__(self, model: PreTrainedModel, end_id: int, end_of_text: int, *, all_logits: bool = True) -> None:
        """Take a model.

        Args:
            model: With the library's own attention.
            end_id: Id of the token that ends thinking.
            end_of_text: Id that ends an answer and pads prompts.
            all_logits: Whether the prompt's pass computes logits of all its positions, as published loops do.
        """
        self._model: PreTrainedModel = model.eval()
        self._end_id, self._end_of_text, self._all_logits = end_id, end_of_text, all_logits

    @torch.inference_mode()
    def roll_out(
        self, prompts: Sequence[Sequence[int]], n: int, steps: int, answer_tokens: int, sigma: float, dropout: float
    ) -> Tensor:
        """Roll out n rows of every prompt.

        Args:
            prompts: Token ids.
            n: Rows per prompt.
            steps: T, latent steps.
            answer_tokens: Longest answer.
            sigma: How much noise latents have; 0 for none.
            dropout: Probability of the feed-forward dropout modules during latent steps; 0 for none.

        Returns:
            Answer tokens, int64 [prompts * n, longest answer].
        """
        device = self._model.device
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), self._end_of_text)
        mask = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        tokens, mask = (one.to(device).repeat_interleave(n, dim=0) for one in (tokens, mask))
        cache = DynamicCache()
        embed = self._model.get_input_embeddings()
        hidden, logits = self._pass(embed(tokens), mask, cache, all_logits=self._all_logits)
        modules = [one for name, one in self._model.named_modules() if name.endswith("mlp.dropout")] if dropout else []
        for module in modules:
            assert isinstance(module, nn.Dropout)
            module.p = dropout
            module.train()
        for _ in range(steps):
            latent = self.latent(hidden, logits[:, -1], sigma)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            hidden, logits = self._pass(latent[:, None], mask, cache, all_logits=True)
        for module in modules:
            module.eval()
        next_token = torch.full((len(mask),), self._end_id, device=device)
        finished = torch.zeros(len(mask), dtype=torch.bool, device=device)
        written: list[Tensor] = []
        while len(written) < answer_tokens and not bool(finished.all()):
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            _, logits = self._pass(embed(next_token)[:, None], mask, cache, all_logits=True)
            next_token = logits[:, -1].argmax(-1).masked_fill(finished, self._end_of_text)
            finished = finished | (next_token == self._end_of_text)
            written.append(next_token)
        return torch.stack(written, dim=1)

    def latent(self, hidden: Tensor, logits: Tensor, sigma: float) -> Tensor:
        """Return what is fed next, [rows, hidden size]: the last hidden state, with noise."""
        return hidden + sigma * torch.randn_like(hidden) if sigma else hidden

    def _pass(self, inputs: Tensor, mask: Tensor, cache: DynamicCache, *, all_logits: bool) -> tuple[Tensor, Tensor]:
        """Return the last position's hidden state [rows, hidden size], and logits."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        base = self._model.base_model(
            inputs_embeds=inputs, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        hidden: Tensor = base.last_hidden_state
        logits: Tensor = self._model.get_output_embeddings()(hidden if all_logits else hidden[:, -1:])
        return hidden[:, -1], logits
