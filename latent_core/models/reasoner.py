"""A latent reasoner in memory: backbone, tokenizer, and what turns a hidden state into the next input."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from latent_core.attention.prefix import SharedPrefix
from latent_core.errors import UserError
from latent_core.flops import FlopModel
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.feedback import Feedback
from latent_core.models.gates import StopGate, gate_of_rows
from latent_core.models.hooks import PerturbedModules
from latent_core.models.invariant_layers import LayerRule, make_rows_invariant
from latent_core.models.meta_model import check_weights, meta_device_model
from latent_core.models.output_head import OutputHead
from latent_core.models.packing import pack_linear_layers
from latent_core.models.token_confidence import TokenConfidence
from latent_core.models.weights import leave_files, load_feedback, load_gate, load_model
from latent_core.samplers.base import ModulePerturbation, Site

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LatentReasoner:
    """A checkpoint ready to roll out.

    Attributes:
        checkpoint: Where it came from, with tokenizer and format.
        model: The causal language model, in evaluation mode, its attention replaced by the shared-prefix one.
        feedback: What turns a hidden state into the next input.
        output_head: What turns a hidden state into a token.
        flops: Cost model of its forward passes.
        gate: What decides whether to think on; None where the format has no gate.
        row_rules: How its linear layers are computed on a CPU for rows not to depend on their neighbours.
        trainable: Whether gradients reach its weights, and these can be replaced.
    """

    def __init__(
        self, checkpoint: Checkpoint, model: PreTrainedModel, feedback: Feedback, gate: StopGate | None = None
    ) -> None:
        """Wrap a loaded model; most callers want `from_pretrained`."""
        self.checkpoint = checkpoint
        self.model = model.eval().requires_grad_(False)
        self.feedback, self.output_head = feedback, OutputHead(model)
        self.flops = FlopModel.of(model, feedback, feeds_back_logits=feedback.reads_logits)
        self.gate = gate
        self.modules = PerturbedModules(checkpoint.source, model)
        self.row_rules: list[LayerRule] = []
        self.trainable = False

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        packed: bool = True,
        trainable: bool = False,
    ) -> "LatentReasoner":
        """Load a reasoner.

        Args:
            source: A directory, a Hugging Face hub id, or "bundled:NAME".
            device: Where the weights go.
            dtype: Precision of weights and activations.
            packed: Let weights be laid out for speed, and so that rows do not depend on their neighbours; they can
                neither be trained nor replaced afterwards.
            trainable: Leave weights as they are, so that they can be trained and replaced; rows do not depend on their
                neighbours either, and are the same to the bit in every process that loads the reasoner like this.

        Raises:
            UserError: If the checkpoint is missing, incomplete, or not a latent reasoner.
        """
        checkpoint = Checkpoint.open(source)
        kind, weights, blank = checkpoint.format.feedback, checkpoint.weights, meta_device_model(checkpoint)
        assignment = check_weights(checkpoint, blank)
        model, missing = load_model(blank, source, weights, assignment.used, dtype)
        if missing:
            # The library has filled them with random numbers.
            raise UserError(f"checkpoint {source}: its weights lack {missing[0]} and {len(missing) - 1} other tensors")
        module: nn.Module = model
        module.to(device)
        mixture = checkpoint.format.mixture
        feedback = load_feedback(source, kind, weights, checkpoint.config, device, dtype, mixture)
        reasoner = cls(checkpoint, model, feedback, _gate(checkpoint, model, device, dtype))
        reasoner.trainable = trainable
        if packed and not trainable:
            pack_linear_layers(reasoner.model.base_model)
            pack_linear_layers(reasoner.feedback)
        if packed or trainable:
            gates = [] if reasoner.gate is None else [reasoner.gate]
            leave_files([reasoner.model, reasoner.feedback, *gates])
            reasoner.output_head.settle(packed=not trainable)
            modules = [reasoner.model.base_model, reasoner.feedback, *gates]
            rules = make_rows_invariant(modules, live=trainable)
            reasoner.row_rules = [*rules, *reasoner.output_head.rules]
        return reasoner

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def end_of_text_id(self) -> int:
        """Id of the end-of-text token, with which prompts and answers are padded."""
        return self.checkpoint.answer_ends[0]

    def ends_answer(self, tokens: Tensor) -> Tensor:
        """Return which tokens end an answer, bool of the shape of `tokens`."""
        first, *others = self.checkpoint.answer_ends
        ended = tokens == first
        for other in others:
            ended = ended | (tokens == other)
        return ended

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return input embeddings, [..., hidden size], of ids [...]."""
        embedded: Tensor = self.model.get_input_embeddings()(token_ids)
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """Return next-token logits, [..., vocabulary], of last hidden states [..., hidden size]."""
        return self.output_head.logits(hidden)

    def most_likely(self, hidden: Tensor) -> Tensor:
        """Return the most likely next token, int64 [rows], of last hidden states [rows, hidden size]."""
        return self.output_head.most_likely(hidden)

    def most_likely_with_confidence(self, hidden: Tensor) -> tuple[Tensor, TokenConfidence]:
        """Return the most likely next token, int64 [rows], and how sure the model is of it."""
        return self.output_head.most_likely_with_confidence(hidden)

    def feed_back(self, hidden: Tensor) -> Tensor:
        """Turn last hidden states [rows, hidden size] into the next latent vectors, before any sampling."""
        latents: Tensor = self.feedback(hidden)
        return latents

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor,
        cache: DynamicCache,
        prefix: SharedPrefix | None = None,
        perturbation: ModulePerturbation | None = None,
        suffix_length: Tensor | None = None,
    ) -> Tensor:
        """Run the backbone over new positions.

        Args:
            inputs: Input embeddings, [rows, new positions, hidden size].
            positions: Their absolute positions, int64 [rows, new positions].
            cache: Keys and values of the rows' own earlier positions; grows by the new ones.
            prefix: Prompts that the rows share, or None.
            perturbation: What a sampler does inside this pass.
            suffix_length: Positions that count of a cache of fixed size, the new one included, int64 [1].

        Returns:
            Last hidden states after the final norm, [rows, new positions, hidden size].
        """
        extra: dict[str, Any] = {}
        if perturbation is not None and Site.ATTENTION_WEIGHTS in perturbation.sites:
            extra["weight_transform"] = perturbation.on_attention_weights
        if suffix_length is not None:
            extra["suffix_length"] = suffix_length
        with self.modules.forward_hooks(perturbation):
            output = self.model.base_model(
                inputs_embeds=inputs,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                prefix=prefix,
                **extra,
            )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def visible_tokens(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return answer tokens without those that show thinking."""
        latent_id = self.checkpoint.latent_id
        return tuple(token for token in token_ids if token != latent_id) if latent_id in token_ids else token_ids

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Return the text of answer tokens, special tokens left out."""
        return self.texts_of([self.visible_tokens(tuple(token_ids))])[0]

    def texts_of(self, visible: Sequence[Sequence[int]]) -> list[str]:
        """Turn visible ids into texts, special tokens left out."""
        tokenizer: Any = self.checkpoint.tokenizer
        decode = tokenizer.batch_decode
        if tokenizer.is_fast and not tokenizer.clean_up_tokenization_spaces:
            # What `batch_decode` comes to, at a third of the time: it looks at every id to see whether it is a tensor.
            decode = tokenizer.backend_tokenizer.decode_batch
        texts: list[str] = decode(visible, skip_special_tokens=True)
        return texts


def _gate(
    checkpoint: Checkpoint, model: PreTrainedModel, device: torch.device | str, dtype: torch.dtype
) -> StopGate | None:
    """Return the stop gate of a checkpoint, from tensors of its own or rows of its output head."""
    settings = checkpoint.format.gate
    if settings is None:
        return None
    if checkpoint.gate_ids:
        return gate_of_rows(model.get_output_embeddings(), checkpoint.gate_ids, settings).eval().requires_grad_(False)
    return load_gate(checkpoint.source, settings, checkpoint.weights, device, dtype)
