"""LatentRM in memory: a backbone that reads prompt tokens and latent vectors, and a scalar head at every position.

r_t = g(question, h_1..t), arXiv 2510.07745: the reward of step t is the head's output where the t-th latent is the
input. Layout as released: token classification with one label (`classifier.weight`, `classifier.bias` on GPT-2).
"""

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from latent_core.attention.prefix import SharedPrefix
from latent_core.engine.micro_batches import RowLimit
from latent_core.errors import UserError
from latent_core.flops import FlopModel
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.files import LATENT_FILE
from latent_core.models.invariant_layers import LayerRule, make_rows_invariant
from latent_core.models.meta_model import check_weights, meta_device_model
from latent_core.models.packing import pack_linear_layers
from latent_core.models.weights import leave_files, load_model
from latent_core.reward.checkpoint import ARCHITECTURE_SUFFIX, RewardCard, RewardCheckpoint, write_card
from latent_core.reward.meta_model import check_reward_weights, names_of_backbone, reward_meta_device_model

_HEADS = ("classifier", "score")
"""Names of the head in the token classification models of transformers."""


class LatentRewardModel(nn.Module):
    """A backbone and a scalar head.

    Attributes:
        model: The token classification model, its attention replaced by the shared-prefix one.
        flops: Cost model of its forward passes.
        end_id: Id of the token between the latents and the answer.
        end_of_text_id: Id with which prompts and answers are padded.
        row_limit: How many rows at once memory has turned out to hold.
        row_rules: How its linear layers are computed on a CPU for rows not to depend on their neighbours.
    """

    def __init__(self, model: PreTrainedModel, end_id: int, end_of_text_id: int) -> None:
        """Wrap a loaded model; most callers want `from_pretrained` or `from_reasoner`."""
        super().__init__()
        self.model = model
        self.end_id, self.end_of_text_id = end_id, end_of_text_id
        backbone: Any = model.base_model
        self.flops, self.row_limit = FlopModel.of_backbone(backbone), RowLimit()
        self.row_rules: list[LayerRule] = []
        self._head_name = next(name for name in _HEADS if hasattr(model, name))

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        packed: bool = True,
    ) -> "LatentRewardModel":
        """Load a LatentRM.

        Args:
            source: A directory, a Hugging Face hub id, or "bundled:NAME".
            device: Where the weights go.
            dtype: Precision of weights and activations.
            packed: Let weights be laid out for speed, after which they can be neither trained nor saved.

        Raises:
            UserError: If the checkpoint is missing, incomplete, or not a LatentRM.
        """
        checkpoint = RewardCheckpoint.open(source)
        blank, assignment = check_reward_weights(checkpoint)
        model, missing = load_model(blank, source, checkpoint.weights, assignment.used, dtype)
        if missing:
            raise UserError(f"scorer.checkpoint {source}: its weights lack {missing[0]} and {len(missing) - 1} others")
        reward_model = cls(model, checkpoint.end_id, checkpoint.end_of_text_id)
        reward_model = reward_model.to(device).eval().requires_grad_(False)
        if packed:
            pack_linear_layers(reward_model.model.base_model)
            leave_files([reward_model.model])
            reward_model.row_rules = make_rows_invariant([reward_model.model])
        return reward_model

    @classmethod
    def from_reasoner(cls, checkpoint: Checkpoint, seed: int) -> "LatentRewardModel":
        """Start a LatentRM from the weights of the reasoner whose latents it is to read; only the head is new."""
        check_weights(checkpoint, meta_device_model(checkpoint))
        blank, weights = reward_meta_device_model(checkpoint.source, checkpoint.config), checkpoint.weights
        names = names_of_backbone(blank, weights.headers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, missing = load_model(blank, checkpoint.source, weights, names, torch.float32)
        lacking = [name for name in missing if not name.startswith(_HEADS)]
        if lacking:
            raise UserError(f"checkpoint {checkpoint.source}: its weights lack {lacking[0]}")
        return cls(model, checkpoint.end_id, int(checkpoint.tokenizer.eos_token_id))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def context_length(self) -> int:
        """Positions that the model has, in tokens."""
        return int(self.model.config.max_position_embeddings)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return input embeddings, [..., hidden size], of ids [...]."""
        embedded: Tensor = self.model.get_input_embeddings()(token_ids)
        return embedded

    def forward(
        self, inputs: Tensor, positions: Tensor, cache: DynamicCache, prefix: SharedPrefix | None = None
    ) -> Tensor:
        """Run backbone and head over new positions.

        Args:
            inputs: Input embeddings, [rows, new positions, hidden size].
            positions: Their absolute positions, int64 [rows, new positions].
            cache: Keys and values of the rows' own earlier positions; grows by the new ones.
            prefix: Prompts that the rows share, or None.

        Returns:
            The reward at every new position, float32 [rows, new positions].
        """
        output = self.model.base_model(
            inputs_embeds=inputs.to(self.model.dtype),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            prefix=prefix,
        )
        dropout: Any = self.model.dropout
        head: Any = getattr(self.model, self._head_name)
        rewards: Tensor = head(dropout(output.last_hidden_state))
        return rewards.squeeze(-1).float()

    def save(self, reasoner: Checkpoint, directory: Path, card: RewardCard) -> None:
        """Write config, weights, tokenizer and card in the released layout."""
        directory.mkdir(parents=True, exist_ok=True)
        before = self.model.config
        self.model.config = copy.deepcopy(before)
        try:
            self.model.save_pretrained(directory)
        finally:
            self.model.config = before
        config = copy.deepcopy(before)
        # By this name LatentRMs are recognised; released ones are named after the reasoner's own class.
        name, described = reasoner.architecture + ARCHITECTURE_SUFFIX, reasoner.directory / LATENT_FILE
        if described.is_file():
            name = type(self.model).__name__
            shutil.copyfile(described, directory / LATENT_FILE)
        config.architectures = [name]
        config.save_pretrained(directory)
        reasoner.tokenizer.save_pretrained(directory)
        write_card(card, directory)
