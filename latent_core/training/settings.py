"""Everything that determines a training run of the bundled reasoner."""

from typing import Literal, Self

from pydantic import Field, model_validator

from latent_core.settings import Settings


class ArchitectureSettings(Settings):
    """The shape and the initial weights of the GPT-2."""

    width: int = Field(default=128, ge=8, description="size of the embeddings and hidden states")
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1, description="attention heads; must divide the width")
    positions: int = Field(default=128, ge=64, description="longest sequence: prompt, latent steps and answer")
    initial_std: float = Field(default=0.06, gt=0, description="standard deviation of all initial weights")
    number_periods: tuple[float, ...] = Field(
        default=(2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 125, 200, 250, 500, 1000, 2000),
        description="periods of the sine/cosine features that number embeddings start with; two dimensions each",
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

    With thoughts "written" the positions of the latent steps hold the reference values as tokens (a chain of thought
    without marks); with "latent" each holds the previous hidden state.
    """

    name: str = Field(min_length=1)
    thoughts: Literal["written", "latent"]
    updates: int = Field(ge=1, description="optimizer updates")
    learning_rate: float = Field(gt=0, lt=1, description="peak, reached after the warm-up")
    final_learning_rate: float = Field(gt=0, lt=1, description="reached at the end of the stage along a cosine")
    warmup_updates: int = Field(default=0, ge=0)
    thought_loss_weight: float = Field(
        default=0.5, ge=0, description="weight of the loss that asks each hidden state to predict its step's value"
    )
    latent_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="dropout after the feed-forward blocks, on latent steps only"
    )
    latent_noise: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of Gaussian noise on fed-back vectors, as a share of their RMS",
    )

    @model_validator(mode="after")
    def _noise_needs_latents(self) -> Self:
        if self.thoughts == "written" and (self.latent_dropout or self.latent_noise):
            raise ValueError("latent_dropout and latent_noise have no meaning where thoughts are written")
        return self


class ReasonerTrainingSettings(Settings):
    """The full recipe of a reasoner that thinks in latent steps about word problems."""

    seed: int = Field(default=0, ge=0, description="seed of the weights, the problems and all noise")
    latent_steps: int = Field(
        default=6, ge=6, le=32, description="latent steps; shorter problems repeat their last value"
    )
    batch_size: int = Field(default=48, ge=1)
    weight_decay: float = Field(default=0.01, ge=0)
    adam_betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    threads: int = Field(default=2, ge=1, description="CPU threads; the same number gives the same weights")
    report_every: int = Field(default=100, ge=1, description="updates between two reports")
    evaluate_every: int = Field(
        default=1000, ge=1, description="updates between two measurements on validation problems"
    )
    evaluation_problems: int = Field(default=512, ge=1)
    weights_dtype: Literal["float16", "float32"] = Field(default="float32", description="type of the saved weights")
    architecture: ArchitectureSettings = ArchitectureSettings()
    stages: tuple[StageSettings, ...] = Field(min_length=1)
