"""Everything that determines a training run of a reasoner."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from latent_core.errors import UserError
from latent_core.settings import Settings, Share
from latent_core.training.families import FAMILIES, AnnotatedFamily

_OF_BASES = ("hidden_steps", "chain_weight", "distillation_weight")
_OF_NOTHING = ("thought_loss_weight", "commitment_weight", "detours")
"""Settings of stages that one way of starting has and the other has not."""


class ArchitectureSettings(Settings):
    """The shape and the initial weights of the GPT-2."""

    width: int = Field(default=128, ge=8, description="size of the embeddings and hidden states")
    layers: int = Field(default=3, ge=1, description="blocks of attention and feed-forward")
    heads: int = Field(default=4, ge=1, description="attention heads; must divide the width")
    positions: int = Field(default=128, ge=64, description="longest sequence: prompt, latent steps and answer")
    initial_std: float = Field(default=0.06, gt=0, description="standard deviation of all initial weights")
    number_periods: tuple[float, ...] = Field(
        default=(2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 125, 200, 250, 500, 1000, 2000),
        description="periods of the sine/cosine features that number embeddings start with; two dimensions each",
    )
    activation: Literal["gelu_new", "gelu_pytorch_tanh"] = Field(
        default="gelu_new",
        description="the same function twice; gelu_pytorch_tanh is one kernel, which nearly halves the training time",
    )
    embedding_std: float | None = Field(
        default=None,
        gt=0,
        description="where given, standard deviation of the initial token embeddings that a family makes itself",
    )
    final_norm: float = Field(
        default=1.0,
        gt=0,
        description="initial RMS of hidden states, which are fed back in the place of embeddings",
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="written into the saved config; training itself ignores it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        if 2 * len(self.number_periods) > self.width:
            raise ValueError(
                f"{len(self.number_periods)} number_periods need a width of {2 * len(self.number_periods)}"
            )
        if any(period <= 0 for period in self.number_periods):
            raise ValueError("number_periods must be positive")
        return self


class DataSettings(Settings):
    """Problems that a family reads from a file."""

    path: str = Field(min_length=1, description="file with questions and annotated answers; never a test split")
    variants: int = Field(
        default=0, ge=0, description="the most versions of each problem with other numbers that are trained on too"
    )
    validation_share: float = Field(
        default=0.02, gt=0, lt=1, description="share of the problems that is held out, by the hash of the question"
    )
    longest: int = Field(
        default=320, ge=16, description="tokens of question, chain and answer; longer problems are left out"
    )


class StageSettings(Settings):
    """One stage of the curriculum.

    With thoughts "written" the positions of the latent steps hold tokens (a chain of thought without marks); with
    "latent" each holds the previous hidden state. A pretrained model reads the written chain as it stands in its data.
    """

    name: str = Field(min_length=1, description="what reports call it")
    thoughts: Literal["written", "latent"] = Field(
        description="whether the positions of latent steps hold tokens, or the previous hidden state"
    )
    updates: int = Field(ge=1, description="optimizer updates")
    learning_rate: float = Field(gt=0, lt=1, description="peak, reached after the warm-up")
    final_learning_rate: float = Field(gt=0, lt=1, description="reached at the end of the stage along a cosine")
    warmup_updates: int = Field(default=0, ge=0, description="updates over which the learning rate rises")
    thought_loss_weight: float = Field(
        default=0.5, ge=0, description="weight of the loss that asks each hidden state to predict its step's thought"
    )
    commitment_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the loss that turns each hidden state towards the embedding of what it decodes to",
    )
    detours: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="probability that a written thought is any possible one instead of a right one",
    )
    latent_gradient: bool = Field(
        default=True, description="whether the losses of later positions reach a thought through its fed-back vector"
    )
    latent_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="dropout after the feed-forward blocks, on latent steps only"
    )
    latent_noise: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of Gaussian noise on fed-back vectors, as a share of their RMS",
    )
    least_latent_noise: float | None = Field(
        default=None, ge=0, description="where given, each problem draws its own noise between this and latent_noise"
    )

    hidden_steps: int | None = Field(
        default=None,
        ge=1,
        description="of a pretrained model: how many of the first written steps latents stand for, the others being "
        "written behind them (COCONUT's curriculum); None for all",
    )
    chain_weight: float = Field(
        default=0.0, ge=0, description="of a pretrained model: weight of the loss of the whole written chain"
    )
    distillation_weight: float = Field(
        default=0.0,
        ge=0,
        description="of a pretrained model: weight of the distance between the hidden states before the answer behind "
        "latents and behind the written chain (CODI's self-distillation)",
    )

    @model_validator(mode="after")
    def _noise_needs_latents(self) -> Self:
        if self.thoughts == "written" and (self.latent_dropout or self.latent_noise):
            raise ValueError("latent_dropout and latent_noise have no meaning where thoughts are written")
        if self.thoughts == "written" and (self.hidden_steps or self.chain_weight or self.distillation_weight):
            raise ValueError("hidden_steps, chain_weight and distillation_weight need thoughts that are latent")
        if self.hidden_steps and self.distillation_weight:
            raise ValueError("distillation_weight needs latents that stand for all steps: leave hidden_steps out")
        if self.thoughts == "latent" and self.detours:
            raise ValueError("detours have no meaning where thoughts are latent")
        if self.least_latent_noise is not None and self.least_latent_noise > self.latent_noise:
            raise ValueError("least_latent_noise is larger than latent_noise")
        return self


class ReasonerTrainingSettings(Settings):
    """The full recipe of a reasoner that thinks in latent steps about one family of problems."""

    family: str = Field(default="word_problems", description="what it is trained on")
    seed: int = Field(default=0, ge=0, description="seed of the weights, the problems and all noise")
    latent_steps: int = Field(default=6, ge=1, description="latent steps; which numbers fit depends on the family")
    batch_size: int = Field(default=48, ge=1, description="problems per update")
    weight_decay: float = Field(default=0.01, ge=0, description="of all weights")
    adam_betas: tuple[Share, Share] = Field(default=(0.9, 0.98), description="decay of both moments of AdamW")
    gradient_clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    threads: int = Field(default=2, ge=1, description="CPU threads; the same number gives the same weights")
    report_every: int = Field(default=100, ge=1, description="updates between two reports")
    evaluate_every: int = Field(
        default=1000, ge=1, description="updates between two measurements on validation problems"
    )
    evaluation_problems: int = Field(default=512, ge=1, description="validation problems of a measurement")
    weights_dtype: Literal["float16", "bfloat16", "float32"] = Field(
        default="float32", description="type of the saved weights"
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        description="updates between two states from which a killed training goes on; None saves none",
    )
    base: str | None = Field(
        default=None,
        min_length=1,
        description="the language model to start from: a directory or hub id; None for a GPT-2 from nothing",
    )
    data: DataSettings | None = Field(default=None, description="the problems, for a family that reads a file")
    feedback: Literal["identity", "projector"] = Field(
        default="identity", description="with a base: what is fed back, hidden states or CODI's projector of them"
    )
    latents_per_step: int = Field(
        default=2, ge=1, description="with a base: latents in place of each of the hidden_steps of a stage"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="with a base: where it is trained")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="with a base: of products; weights and optimizer stay in float32"
    )
    micro_batch: int | None = Field(
        default=None, ge=1, description="problems that are computed at once; None for the whole batch"
    )
    architecture: ArchitectureSettings = Field(
        default=ArchitectureSettings(), description="the shape and the initial weights, without a base"
    )
    stages: tuple[StageSettings, ...] = Field(min_length=1, description="the curriculum, one stage after the other")

    @field_validator("family")
    @classmethod
    def _known_family(cls, name: str) -> str:
        try:
            FAMILIES[name]
        except UserError as error:
            raise ValueError(str(error)) from None
        return name

    @field_validator("latent_steps")
    @classmethod
    def _steps_fit(cls, steps: int, info: ValidationInfo) -> int:
        if "family" in info.data:
            family = FAMILIES[info.data["family"]]
            if not family.fewest_steps <= steps <= family.most_steps:
                raise ValueError(f"{info.data['family']} needs {family.fewest_steps} to {family.most_steps}")
        return steps

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        """Refuse settings that only the other way of starting has: nothing would come of them."""
        from_base = isinstance(FAMILIES[self.family], AnnotatedFamily)
        for name, value in (("base", self.base), ("data", self.data)):
            if from_base and value is None:
                raise ValueError(f"family {self.family} needs a {name}: it starts from a language model and a file")
            if not from_base and value is not None:
                raise ValueError(f"family {self.family} is learned from nothing: leave {name} out")
        others = ("architecture",) if from_base else ("feedback", "latents_per_step", "device", "precision")
        of_stages = _OF_NOTHING if from_base else _OF_BASES
        if wrong := sorted(self.model_fields_set & set(others) & self._changed):
            raise ValueError(f"{wrong[0]} has no meaning for family {self.family}")
        for stage in self.stages:
            if wrong := sorted(name for name in of_stages if getattr(stage, name) != _default(name)):
                raise ValueError(f"stage {stage.name}: {wrong[0]} has no meaning for family {self.family}")
        if from_base and (self.stages[-1].thoughts == "written" or self.stages[-1].hidden_steps is not None):
            raise ValueError(f"stage {self.stages[-1].name}: the last stage has to be the reasoner's own: all latents")
        return self

    @property
    def _changed(self) -> set[str]:
        """Settings that do not have their default."""
        return {name for name, one in type(self).model_fields.items() if getattr(self, name) != one.default}


def _default(name: str) -> object:
    return StageSettings.model_fields[name].default
