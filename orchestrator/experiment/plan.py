"""Plan of an experiment: the configuration, checked against checkpoint and task, minus what the store holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from latent_core.budgets import Budget
from latent_core.errors import UserError
from latent_core.models.files import find_local
from latent_core.samplers import Sampler, parse_sampler
from latent_core.tasks.base import Problem, Task, questions_of
from latent_core.tasks.reading import reading_of
from latent_core.tasks.references import ReferenceCounts, count_references
from orchestrator.config.run import RunConfig
from orchestrator.experiment.scorer_plan import ScorerPlan, plan_scorer
from orchestrator.experiment.task_checks import check_outside, check_prompts, check_questions
from orchestrator.names import GREEDY
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.shards import BoolArray, Shard, missing_shards
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from orchestrator.tracking.server import check_uri

if TYPE_CHECKING:
    from latent_core.models.backbones import Backbone
    from latent_core.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Plan:
    """A checked configuration with everything that is needed to carry it out.

    Attributes:
        config: The configuration.
        checkpoint: The checkpoint, without weights.
        task: The questions.
        task_fingerprint: Hash of all questions of the task, also of those that a limit leaves out.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        prompt_tokens: Length of each question's prompt.
        backbone: Family of the checkpoint's architecture.
        scorer: The LatentRM, or None.
        references: How many reference answers can be met.
        remarks: What is worth knowing of the questions before they are asked, line by line.
        reading: How texts are read, where that is not as it always was.
        left_out: Tensors of the checkpoint that nothing uses, by rule, and files beside its weights; empty if none.
    """

    config: RunConfig
    checkpoint: "Checkpoint"
    task: Task
    task_fingerprint: str
    latent_steps: int
    answer_tokens: int
    prompt_tokens: tuple[int, ...]
    backbone: "Backbone"
    scorer: ScorerPlan | None = None
    references: ReferenceCounts = ReferenceCounts()  # noqa: RUF009 - immutable
    remarks: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All questions, in order."""
        return tuple(self.task.problems)

    def trial(self, name: str, sampler: Sampler, config: RunConfig | None = None) -> Trial:
        """Return the trial of a sampler under this plan, or under a variation of its configuration.

        Raises:
            UserError: If beam searches are wanted and the sampler cannot be searched with.
        """
        config = config or self.config
        trial = self.trial_without_searches(name, sampler, config)
        return replace(trial, searches=self._searches(trial, sampler, config))

    def trial_without_searches(self, name: str, sampler: Sampler, config: RunConfig | None = None) -> Trial:
        """Return the same without beam searches, which not every sampler can have."""
        config = config or self.config
        samples = 1 if sampler.deterministic else config.samples
        budgets = (1,) if sampler.deterministic else config.budgets
        budget = None if config.budget is None or sampler.deterministic else self._budget(config.budget)
        if budget is not None:
            samples = budget.last
            budgets = (*(n for n in config.budgets if n < budget.first), budget.first, budget.last)
        # Samples that are all the same leave nothing to choose.
        scorer = None if sampler.deterministic else self.scorer
        # Greedy latents are what the dynamics of the others are measured from: they are kept where those are, but a
        # store that has greedy decoding without them has it all the same.
        latents, kept = _latents(config, scorer), _latents(config, self.scorer)
        store = self._store(self._spec(sampler, config), latents, config, kept)
        scored = scorer.scored(store) if scorer else None
        cut_answers = config.task.cut_answers
        return Trial(name, sampler.kind, samples, budgets, store, scored, cut_answers=cut_answers, budget=budget)

    def _budget(self, budget: Budget) -> WaveBudget:
        gains = self.scorer.gains if self.scorer is not None and budget.rule.needs_fitted else None
        return WaveBudget(budget, self.scorer is not None, gains).check()

    def _store(self, spec: TrajectorySpec, latents: str, config: RunConfig, kept: str | None = None) -> TrajectoryStore:
        return TrajectoryStore(config.store.path, spec, latents, self.checkpoint.answer_ends, kept)

    def _searches(self, trial: Trial, sampler: Sampler, config: RunConfig) -> tuple[Trial, ...]:
        if config.search.kind == "none" or sampler.deterministic or self.scorer is None:
            return ()
        if self.checkpoint.format.adaptive:
            raise UserError(
                f"search.kind: beams advance together, and {self.checkpoint.source} decides by itself how long each "
                "trajectory thinks; set search.kind=none"
            )
        if sampler.perturbs_prompt:
            raise UserError(
                f"search.kind: beams share the prompt, which {sampler.describe()!r} perturbs; leave the prompt out of "
                "sampler.scope, or set search.kind=none"
            )
        return tuple(self._search(trial, sampler, config, beams) for beams in config.search.beams)

    def _search(self, trial: Trial, sampler: Sampler, config: RunConfig, beams: int) -> Trial:
        assert self.scorer is not None
        spec = self._spec(sampler, config)
        shape = self.scorer.beam(config.search, beams, spec.latent_steps)
        latents = config.store.latents if config.store.latents != "auto" else "none"
        return Trial(
            name=f"{trial.name} {shape.title}",
            sampler=sampler.kind,
            samples=shape.beams,
            budgets=(shape.beams * shape.candidates,),
            store=self._store(replace(spec, beam=shape), latents, config),
            scorer=self.scorer.source,
            cut_answers=config.task.cut_answers,
        )

    def _spec(self, sampler: Sampler, config: RunConfig) -> TrajectorySpec:
        from latent_core.kinds import trajectory_extras

        return TrajectorySpec(
            checkpoint=self.checkpoint.fingerprint,
            task=self.task_fingerprint,
            sampler=sampler.to_config(),
            latent_steps=config.latent_steps or self.latent_steps,
            answer_tokens=config.answer_tokens or self.answer_tokens,
            seed=config.seed,
            dtype=config.dtype,
            extras=trajectory_extras(self.checkpoint, self.backbone, sampler),
            reading=self.reading,
        )

    def greedy(self) -> Trial:
        """Return the deterministic trial that every curve is compared with."""
        return self.trial(GREEDY, parse_sampler({"kind": "none"}))

    def missing(self, trial: Trial, covered: BoolArray) -> list[Shard]:
        """Return the shards that are still to be sampled.

        Args:
            trial: The trial.
            covered: What need not be sampled, bool [questions, samples].
        """
        at_once = self.config.store.samples_per_shard if trial.store.spec.beam is None else trial.samples
        return missing_shards(covered, self.config.micro_batch, at_once)

    def estimated_flops(self, trial: Trial, shards: list[Shard]) -> float:
        """Return an upper bound of the FLOPs of sampling the shards: every answer as long as it may be."""
        # Model code takes seconds to import; only who asks for the cost waits for it.
        from latent_core.models.hooks import PerturbedModules
        from latent_core.models.meta_model import cost_model, meta_device_model

        model, spec = meta_device_model(self.checkpoint), trial.store.spec
        flops, modules = cost_model(self.checkpoint, model), PerturbedModules(self.checkpoint.source, model)
        sampler = parse_sampler(spec.sampler)
        total = 0.0
        for shard in shards:
            for tokens in self.prompt_tokens[shard.first_question : shard.end_question]:
                shared, own = flops.shared_prompt(tokens, sampler.own_prompt_tokens(tokens))
                own += flops.trajectory(tokens, spec.latent_steps, 1, spec.answer_tokens)
                own += modules.perturbation_flops(sampler, tokens, spec.latent_steps)
                # Of a search's continuations only the beams are written out: this counts them all as if they were.
                wide = spec.beam.candidates if spec.beam else 1
                total += shared + shard.samples * wide * own
        return total


def make_plan(
    config: RunConfig, variations: Sequence[RunConfig] = (), imported: Callable[[], None] = lambda: None
) -> Plan:
    """Check a configuration against its checkpoint and its task; loads no weights and starts nothing.

    Args:
        config: The configuration.
        variations: Trials of a sweep over it, which may differ in the lengths of their rollouts.
        imported: Called when model code has been imported and nothing has been computed.

    Raises:
        UserError: If the checkpoint, the task or MLflow's place cannot be used, no reference answer can be met, or a
            question does not fit the model's context.
    """
    whole = _checked_without_models(config)
    # Model code takes seconds to import; whoever has named something that is not there need not wait for it.
    from latent_core.models.backbones import check_sampler, find_backbone
    from latent_core.models.checkpoint import Checkpoint
    from latent_core.models.feedback.base import check_draws
    from latent_core.models.meta_model import check_model, weights_left_out

    imported()
    checkpoint = Checkpoint.open(config.checkpoint)
    model = check_model(checkpoint)
    backbone = find_backbone(config.checkpoint, model.base_model)
    for one in (config, *variations):
        check_sampler(config.checkpoint, backbone, one.sampler)
        check_draws(config.checkpoint, checkpoint.format.feedback, one.sampler)
    scorer = plan_scorer(config, checkpoint)
    task = whole.head(config.task.limit)
    references = count_references(task, checkpoint.format.extractor)
    latent_steps = config.latent_steps or checkpoint.latent_steps
    answer_tokens = config.answer_tokens or checkpoint.format.answer_tokens
    prompts = checkpoint.prompt_ids_of(questions_of(task))
    remarks = (
        *check_prompts(checkpoint, task, prompts),
        *check_questions(task),
        *check_outside(whole, trust_grader=config.task.trust_grader),
    )
    lengths = tuple(map(len, prompts))
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    for one in (config, *variations):
        checkpoint.check_length(
            task.problems[longest].question_id,
            lengths[longest],
            one.latent_steps or latent_steps,
            one.answer_tokens or answer_tokens,
        )
        if scorer is not None:
            scorer.check_length(lengths[longest], one.latent_steps or latent_steps, one.answer_tokens or answer_tokens)
    extractor = config.task.extractor or checkpoint.format.extractor
    reading = reading_of(
        extractor, {problem.grader for problem in whole.problems}, chosen=extractor != checkpoint.format.extractor
    )
    return Plan(
        config,
        checkpoint,
        task,
        whole.fingerprint,
        latent_steps,
        answer_tokens,
        lengths,
        backbone,
        scorer,
        references,
        remarks,
        reading,
        weights_left_out(checkpoint, model),
    )


def _checked_without_models(config: RunConfig) -> Task:
    """Refuse what is not there, as far as that can be told without model code; returns the whole task."""
    check_uri(config.tracking)
    for source in (config.checkpoint, config.scorer.checkpoint):
        if source is not None:
            find_local(source)
    task = config.task.load()
    if not task.problems:
        raise UserError(f"task {task.name}: the data set is empty")
    return task


def _latents(config: RunConfig, scorer: ScorerPlan | None) -> str:
    if config.store.latents != "auto":
        return config.store.latents
    return "none" if scorer is None else "float16"
