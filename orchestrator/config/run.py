"""Configuration schema of `run` and `sweep`: strict typed models, filled from YAML and then from `key=value`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from latent_core.budgets import Budget, parse_budget
from latent_core.errors import UserError
from latent_core.samplers import Sampler, parse_sampler
from latent_core.selection.calibration import VoteCalibration
from latent_core.settings import Settings
from orchestrator.config.environment import ActorConfig, ClusterConfig, StoreConfig, TrackingConfig
from orchestrator.config.objective import Objective, parse_objective
from orchestrator.config.paths import Place
from orchestrator.config.task import TaskConfig
from orchestrator.config.types import MAX_SEED, Count, Dtype


def _by_kind(value: Any) -> Any:
    return parse_sampler(value) if isinstance(value, Mapping) else value


def _plain(sampler: Sampler) -> dict[str, Any]:
    return sampler.to_config()


SamplerConfig = Annotated[
    Sampler, BeforeValidator(_by_kind), PlainSerializer(_plain), WithJsonSchema({"type": "object"})
]
"""A sampler, written as `kind` and the settings of that kind, which `orchestrator.config.schema` adds to the schema."""


def _by_rule(value: Any) -> Any:
    if value is None or isinstance(value, Budget):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("takes a rule, such as {rule: posterior, waves: [4, 8, 16]}; numbers of samples are budgets")
    return parse_budget(value)


def _plain_budget(budget: Budget) -> dict[str, Any]:
    return budget.to_config()


BudgetConfig = Annotated[
    InstanceOf[Budget],
    BeforeValidator(_by_rule),
    PlainSerializer(_plain_budget),
    WithJsonSchema({"type": "object"}),
]
"""A budget rule, written as `rule`, `waves` and the settings of that rule; likewise."""


class ScorerConfig(Settings):
    """The LatentRM that scores trajectories.

    Attributes:
        checkpoint: A directory, a hub id, or "bundled:NAME"; without one nothing is scored.
        score_answer: Whether written answers are scored too, for curves of their own; where it is not given, what the
            LatentRM was trained for.
        vote_calibration: How scores become vote weights; where it is not given, what was fitted when the LatentRM was
            trained, and temperature 1 where nothing was.
        actors: Number of scorer actors.
        actor: What one of them holds.
        dtype: Precision of weights and activations.
    """

    checkpoint: Place | None = None
    score_answer: bool | None = None
    vote_calibration: VoteCalibration | None = None
    actors: int = Field(default=1, ge=1)
    actor: ActorConfig = ActorConfig()
    dtype: Dtype = "float32"


def _auto_or_step(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("input should be auto, or a latent step from 1 on")


class SearchConfig(Settings):
    """Search over latent steps, beside independent samples.

    Attributes:
        kind: "beam"; "smc" for beams x candidates particles; or "none" for independent samples only.
        beams: Numbers of beams that are kept, one search for each.
        candidates: Continuations per beam and step.
        prune_from: First latent step at which anything is dropped or resampled; before it there are beams x candidates
            independent samples. "auto" is the first at which the LatentRM can tell, as its card says.
        temperature: Of "smc": particles weigh exp(reward / temperature).
    """

    kind: Literal["none", "beam", "smc"] = "none"
    beams: tuple[Count, ...] = (4,)
    candidates: Count = 4
    prune_from: Annotated[
        Literal["auto"] | int,
        BeforeValidator(_auto_or_step, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1)]),
    ] = "auto"
    temperature: float = Field(default=1.0, gt=0.0)

    @field_validator("beams", mode="before", json_schema_input_type=Count | tuple[Count, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("beams")
    @classmethod
    def _sorted_beams(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("name at least one number of beams")
        return tuple(sorted(set(value)))


class SweepConfig(Settings):
    """The search space of a sweep, and how it is searched.

    Attributes:
        space: Grids. Each maps configuration keys to one value, a list of values, or a distribution such as
            {uniform: [0.1, 1.0]}. Searched as a "grid", it stands for all combinations of its lists, each drawn `draws`
            times where it has distributions, and the sweep for all its grids one after the other. Checkpoints, tasks
            and LatentRMs among its keys make several sweeps of one.
        draws: How often distributions are drawn from; which values come is a function of `seed`.
        search_alg: "grid", or "optuna" for trials that are chosen by what earlier ones came to.
        trials: Number of trials of "optuna".
        scheduler: "none" runs every trial to the largest budget; "asha" stops bad ones early.
        objective: What makes a trial good: an aggregation at the largest budget (`best_of_n`) or at another one
            (`best_of_n@16`), `area(...)`, `flops` or `per_flop(...)`; several for a Pareto front.
            Where it is not given, `best_of_n` with a LatentRM and `majority_vote` without: coverage chooses no answer.
        grace_samples: Samples per question that every trial gets before "asha" may stop it.
        reduction_factor: "asha" lets one of so many trials go on at every rung.
        brackets: Brackets of "asha", which differ in how long their trials are left alone; trials are dealt to them.
        max_concurrent_trials: Trials that feed the actors at the same time; as many as keep them busy where it is not
            given.
    """

    space: tuple[dict[str, Any], ...] = ()
    draws: Count = 1
    search_alg: Literal["grid", "optuna"] = "grid"
    trials: Count = 20
    scheduler: Literal["none", "asha"] = "none"
    objective: tuple[str, ...] = Field(default=("majority_vote",), min_length=1)
    grace_samples: int = Field(default=4, ge=1)
    reduction_factor: float = Field(default=2.0, gt=1.0)
    brackets: int = Field(default=1, ge=1)
    max_concurrent_trials: int | None = Field(default=None, ge=1)

    @field_validator("objective", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("objective")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_objective(text)
        if len(set(value)) != len(value):
            raise ValueError("an objective is named twice")
        return value

    @model_validator(mode="after")
    def _asha_compares_one_number(self) -> "SweepConfig":
        if self.scheduler == "asha" and len(self.objective) > 1:
            raise ValueError("scheduler asha compares trials by one objective; name one, or set scheduler=none")
        if self.scheduler == "asha" and any(one.searched for one in self.objectives):
            raise ValueError("scheduler asha needs an objective that is known before a trial ends, not a beam search")
        return self

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives, read."""
        return tuple(parse_objective(text) for text in self.objective)


class RunConfig(Settings):
    """Everything that determines a run or a sweep.

    Attributes:
        checkpoint: A directory, a hub id, or "bundled:NAME".
        task: The questions.
        sampler: `kind` and the settings of that kind.
        budgets: Numbers of samples per question at which accuracy is reported; the largest is what is sampled.
        budget: Waves of samples and the rule that decides after each of them which questions go on; every question gets
            the same number where it is not given.
        seed: Seed of all random draws.
        latent_steps: T; the checkpoint family's published number where it is not given.
        answer_tokens: Longest answer in tokens; the family's default where it is not given.
        micro_batch: Questions per actor call.
        actors: Number of reasoner actors.
        actor: What one actor holds.
        dtype: Precision of weights and activations.
        scorer: The LatentRM, if any.
        search: Beam search, if any.
        store: Where trajectories are kept.
        tracking: Where MLflow records go.
        cluster: The Ray cluster.
        sweep: The search space, for `latentswarm sweep`.
        plugins: Modules and paths of .py files that bring samplers, tasks and other kinds of their own.
    """

    checkpoint: Place
    task: TaskConfig
    sampler: SamplerConfig = Field(default_factory=lambda: parse_sampler({"kind": "none"}))
    budgets: tuple[Count, ...] = (1, 2, 4, 8, 16, 32, 64)
    budget: BudgetConfig | None = None
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    latent_steps: Count | None = None
    answer_tokens: Count | None = None
    micro_batch: Count = 8
    actors: Count = 1
    actor: ActorConfig = ActorConfig()
    dtype: Dtype = "float32"
    scorer: ScorerConfig = ScorerConfig()
    search: SearchConfig = SearchConfig()
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()
    cluster: ClusterConfig = ClusterConfig()
    sweep: SweepConfig = SweepConfig()
    plugins: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _default_objective(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        sweep, scorer = data.get("sweep", {}), data.get("scorer")
        is_scored = isinstance(scorer, Mapping) and scorer.get("checkpoint") is not None
        if is_scored and isinstance(sweep, Mapping) and "objective" not in sweep:
            return {**data, "sweep": {**sweep, "objective": "best_of_n"}}
        return data

    @field_validator("budgets")
    @classmethod
    def _sorted_budgets(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("name at least one number of samples")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _budget_can_be_kept(self) -> "RunConfig":
        if self.budget is None or self.sampler.deterministic:
            return self
        if self.search.kind != "none":
            raise UserError(
                "budget: a beam search has no samples to stop at; set search.kind=none, or leave the budget out"
            )
        if self.sweep.scheduler != "none":
            raise UserError(
                "budget: a scheduler stops trials at numbers of samples that all questions have; set "
                "sweep.scheduler=none, or leave the budget out"
            )
        if len(self.budget.waves) < 2:
            raise UserError("budget.waves: one wave leaves nothing to decide; name two, or set budgets instead")
        if self.budget.rule.needs_scores and self.scorer.checkpoint is None:
            raise UserError(
                f"budget.rule {self.budget.rule.kind}: decides by the scores of a LatentRM; set scorer.checkpoint, or "
                "take a rule that looks at votes alone, such as posterior"
            )
        return self

    @property
    def samples(self) -> int:
        """Most samples per question: the largest budget or the last wave, or 1 where all samples would be the same."""
        if self.sampler.deterministic:
            return 1
        return self.budgets[-1] if self.budget is None else self.budget.horizon
