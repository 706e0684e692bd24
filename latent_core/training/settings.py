"""Everything that determines a training run of the bundled reasoner."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from latent_core.errors import UserError
from latent_core.settings import Settings, Share
from latent_core.training.families import FAMILIES


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


class StageSettings(Settings):
    """One stage of the curriculum.

    With thoughts "written" the positions of the latent steps hold tokens (a chain of thought without marks); with
    "latent" each holds the previous hidden state.
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

    @model_validator(mode="after")
    def _noise_needs_latents(self) -> Self:
        if self.thoughts == "written" and (self.latent_dropout or self.latent_noise):
            raise ValueError("latent_dropout and latent_noise have no meaning where thoughts are written")
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
    weights_dtype: Literal["float16", "float32"] = Field(default="float32", description="type of the saved weights")
    architecture: ArchitectureSettings = Field(
        default=ArchitectureSettings(), description="the shape and the initial weights"
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
