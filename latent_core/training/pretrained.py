"""A pretrained language model as the start of a latent reasoner: loaded, given the latent tokens, and saved.

What is saved is a plain checkpoint with a `latent.json`: COCONUT's prompt and answer, with its feedback, which is the
hidden state itself, or with CODI's projector.
"""

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.backbones import find_backbone
from latent_core.models.checkpoint import load_config
from latent_core.models.compatibility import check_shared_prefix
from latent_core.models.feedback.projector import Projector
from latent_core.models.files import LATENT_FILE, load_part, locate, read_json
from latent_core.models.formats import LatentFormat
from latent_core.models.formats.coconut import COCONUT
from latent_core.models.tokenization import load_tokenizer, opening_ids
from latent_core.models.weight_files import WeightSource
from latent_core.samplers.base import Site
from latent_core.training.tokenizer import END_LATENT, LATENT, START_LATENT

_ANSWER_TOKENS = 16
_PROJECTED = {0: "projector.1", 2: "projector.3", 3: "projector.4"}
"""Names of a projector's layers in checkpoints, by their places."""


@dataclass(frozen=True)
class BaseModel:
    """A language model that can learn to think in latent steps.

    Attributes:
        model: The model in float32, in evaluation mode, with rows for the latent tokens.
        tokenizer: Its tokenizer, with the latent tokens.
        opening: Ids that the tokenizer puts in front of every text.
        projector: What turns hidden states into what is fed back; None for the hidden states themselves.
        conventions: How it is asked and answers.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    opening: tuple[int, ...]
    projector: Projector | None
    conventions: LatentFormat

    @property
    def end_id(self) -> int:
        """Id of the token behind the last latent."""
        return int(self.tokenizer.get_vocab()[END_LATENT])

    @classmethod
    def load(cls, source: str, latent_steps: int, feedback: str) -> "BaseModel":
        """Load a causal language model of transformers; a projector draws from torch's current random state.

        Args:
            source: A directory or a Hugging Face hub id.
            latent_steps: T.
            feedback: "identity" or "projector".

        Raises:
            UserError: If there is no such model, or its architecture cannot be run here afterwards.
        """
        directory = _located(source)
        cls.check(source)
        tokenizer = load_tokenizer(source, directory)
        if tokenizer.eos_token_id is None:
            raise UserError(f"base {source}: its tokenizer has no end-of-text token, with which answers end")
        load = partial(
            AutoModelForCausalLM.from_pretrained,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
        model, found = load_part(source, "weights", load, directory)
        if lacking := sorted(found["missing_keys"]):
            raise UserError(f"base {source}: its weights lack {lacking[0]} and {len(lacking) - 1} other tensors")
        if Site.FEED_FORWARD not in find_backbone(source, model.base_model).sites:
            raise UserError(
                f"base {source}: {type(model).__name__} has blocks of a layout that is not known, in which nothing can "
                "be perturbed; describe it in a new file in latent_core/models/backbones, or start from another model"
            )
        _add_latent_tokens(model, tokenizer)
        conventions = COCONUT.model_copy(
            update={"feedback": feedback, "latent_steps": latent_steps, "answer_tokens": _ANSWER_TOKENS}
        )
        projector = new_projector(model) if feedback == "projector" else None
        return cls(model.train(False), tokenizer, opening_ids(source, tokenizer), projector, conventions)

    @staticmethod
    def check(source: str) -> PreTrainedConfig:
        """Return the configuration of a model that can be run here, without loading its weights.

        Raises:
            UserError: If there is no such model, or its architecture cannot be run here afterwards.
        """
        directory = _located(source)
        config = load_config(source, directory, read_json(source, directory / "config.json"))
        WeightSource.find(source, directory)
        check_shared_prefix(source, config)
        return config

    def save(self, directory: Path, dtype: torch.dtype) -> None:
        """Write configuration, conventions, tokenizer and weights; what is in memory keeps its type."""
        directory.mkdir(parents=True, exist_ok=True)
        config = copy.deepcopy(self.model.config)
        config.architectures, config.dtype = [type(self.model).__name__], dtype
        config.save_pretrained(directory)
        described = self.conventions.model_dump_json(indent=2, exclude=set(self.conventions.silent))
        (directory / LATENT_FILE).write_text(described + "\n", encoding="utf-8")
        self.tokenizer.save_pretrained(directory)
        tied = set(getattr(self.model, "all_tied_weights_keys", None) or ())
        weights = {name: one for name, one in self.model.state_dict().items() if name not in tied}
        weights |= {} if self.projector is None else _named(self.projector)
        save_file(
            {name: one.detach().to("cpu", dtype).contiguous() for name, one in weights.items()},
            directory / "model.safetensors",
            metadata={"format": "pt"},
        )


def _located(source: str) -> Path:
    path = Path(source).expanduser()
    ggufs = [path] if path.suffix == ".gguf" else sorted(path.glob("*.gguf")) if path.is_dir() else []
    if ggufs and not (path / "config.json").is_file():
        raise UserError(
            f"base {source}: {ggufs[0].name} is a GGUF file, whose weights are quantized; write them out with "
            "transformers first: docs/train-a-reasoner.md has the four lines"
        )
    return locate(source)


def _add_latent_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give tokenizer and embeddings the latent tokens; each starts as the mean of all tokens, as input and output."""
    known = max(tokenizer.get_vocab().values()) + 1
    tokens = [AddedToken(token, special=True, normalized=False) for token in (START_LATENT, END_LATENT, LATENT)]
    tokenizer.add_tokens([token for token in tokens if token.content not in tokenizer.get_vocab()])
    rows = max(tokenizer.get_vocab().values()) + 1
    # Some models have more rows than tokens, as padding.
    inputs: Any = model.get_input_embeddings()
    if rows > len(inputs.weight):
        model.resize_token_embeddings(rows, mean_resizing=False)
    heads: list[Any] = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        for weight in {id(head.weight): head.weight for head in heads}.values():
            weight[known:rows] = weight[:known].mean(0)


def new_projector(model: PreTrainedModel) -> Projector:
    """Return an untrained projector whose outputs are as large as embeddings."""
    width = int(model.config.hidden_size)
    inputs: Any = model.get_input_embeddings()
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, float(inputs.weight.detach().square().mean().sqrt()))
    return Projector(nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), norm))


def _named(projector: Projector) -> dict[str, Tensor]:
    return {
        f"{name}.{kind}": tensor
        for place, name in _PROJECTED.items()
        for kind, tensor in projector.layers[place].state_dict().items()
    }
