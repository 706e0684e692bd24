"""What has to be done: the configuration, checked against checkpoint and task, minus what the store holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.samplers import Sampler, parse_sampler
from latent_core.tasks.base import Problem, Task
from orchestrator.config import RunConfig
from orchestrator.curves import GREEDY
from orchestrator.scorer_plan import ScorerPlan, plan_scorer
from orchestrator.setting import Setting
from orchestrator.shards import Shard, missing_shards
from orchestrator.store import SettingStore, TrajectorySpec


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
        scorer: The LatentRM, or None.
        left_out: Tensors of the checkpoint that nothing uses, by rule, and files beside its weights; empty if none.
    """

    config: RunConfig
    checkpoint: Checkpoint
    task: Task
    task_fingerprint: str
    latent_steps: int
    answer_tokens: int
    prompt_tokens: tuple[int, ...]
    scorer: ScorerPlan | None = None
    left_out: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All questions, in order."""
        return tuple(self.task.problems)

    def setting(self, name: str, sampler: Sampler, config: RunConfig | None = None) -> Setting:
        """Return the setting of a sampler under this plan, or under a variation of its configuration."""
        config = config or self.config
        samples = 1 if sampler.deterministic else config.budgets[-1]
        budgets = (1,) if sampler.deterministic else config.budgets
        # Samples that are all the same leave nothing to choose.
        scorer = None if sampler.deterministic else self.scorer
        store = SettingStore(config.store.path, self._spec(sampler, config), _latents(config, scorer))
        return Setting(name, sampler.kind, samples, budgets, store, scorer.scored(store) if scorer else None)

    def searches(self, setting: Setting, sampler: Sampler, config: RunConfig | None = None) -> tuple[Setting, ...]:
        """Return the beam searches that go with a sampled setting.

        Raises:
            UserError: If the sampler cannot be searched with.
        """
        config = config or self.config
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
        return tuple(self._search(setting, sampler, config, beams) for beams in config.search.beams)

    def _search(self, setting: Setting, sampler: Sampler, config: RunConfig, beams: int) -> Setting:
        assert self.scorer is not None
        candidates = config.search.candidates
        spec = replace(self._spec(sampler, config), beam=self.scorer.beam(beams, candidates))
        latents = config.store.latents if config.store.latents != "auto" else "none"
        return Setting(
            name=f"{setting.name} beam {beams}x{candidates}",
            sampler=sampler.kind,
            samples=beams,
            budgets=(beams * candidates,),
            store=SettingStore(config.store.path, spec, latents),
            scorer=self.scorer.source,
        )

    def _spec(self, sampler: Sampler, config: RunConfig) -> TrajectorySpec:
        return TrajectorySpec(
            checkpoint=self.checkpoint.fingerprint,
            task=self.task_fingerprint,
            sampler=sampler.to_config(),
            latent_steps=config.latent_steps or self.latent_steps,
            answer_tokens=config.answer_tokens or self.answer_tokens,
            seed=config.seed,
            dtype=config.dtype,
        )

    def greedy(self) -> Setting:
        """Return the deterministic setting that every curve is compared with."""
        return self.setting(GREEDY, parse_sampler({"kind": "none"}))

    def missing(self, setting: Setting, samples: int | None = None) -> list[Shard]:
        """Return the shards that are still to be sampled for the first `samples` samples (default: all)."""
        covered = setting.store.covered(len(self.task.problems), samples or setting.samples)
        at_once = self.config.store.samples_per_shard if setting.store.spec.beam is None else setting.samples
        return missing_shards(covered, self.config.micro_batch, at_once)

    def unscored(self, setting: Setting) -> list[Shard]:
        """Return what has been sampled of a setting and is still to be scored."""
        questions, shard = len(self.task.problems), self.config.store.samples_per_shard
        return setting.unscored(questions, setting.samples, self.config.micro_batch, shard)

    def estimated_flops(self, setting: Setting, shards: list[Shard]) -> float:
        """Return an upper bound of the FLOPs of sampling the shards: every answer as long as it may be."""
        # Model code takes seconds to import; only who asks for the cost waits for it.
        from latent_core.models.perturbed import PerturbedModules
        from latent_core.models.skeleton import cost_model, skeleton

        model, spec = skeleton(self.checkpoint), setting.store.spec
        flops, modules = cost_model(self.checkpoint, model), PerturbedModules(self.checkpoint.source, model)
        sampler = parse_sampler(spec.sampler)
        total = 0.0
        for shard in shards:
            for tokens in self.prompt_tokens[shard.first_question : shard.end_question]:
                prompts = shard.samples if sampler.perturbs_prompt else 1
                own = flops.trajectory(tokens, spec.latent_steps, 1, spec.answer_tokens)
                own += modules.perturbation_flops(sampler, tokens, spec.latent_steps)
                # Of a search's continuations only the beams are written out: this counts them all as if they were.
                wide = spec.beam.candidates if spec.beam else 1
                total += prompts * flops.prompt(tokens) + shard.samples * wide * own
        return total


def make_plan(config: RunConfig, variations: Sequence[RunConfig] = ()) -> Plan:
    """Check a configuration against its checkpoint and its task; loads no weights and starts nothing.

    Args:
        config: The configuration.
        variations: Trials of a sweep over it, which may differ in the lengths of their rollouts.

    Raises:
        UserError: If the checkpoint or the task cannot be used, or a question does not fit the model's context.
    """
    from latent_core.models.backbones import check_sampler, find_backbone
    from latent_core.models.skeleton import check_model, weights_left_out

    checkpoint = Checkpoint.open(config.checkpoint)
    model = check_model(checkpoint)
    backbone = find_backbone(config.checkpoint, model.base_model)
    for one in (config, *variations):
        check_sampler(config.checkpoint, backbone, one.sampler)
    scorer = plan_scorer(config, checkpoint)
    whole = config.task.load()
    task = whole.head(config.task.limit)
    if not task.problems:
        raise UserError(f"task {task.name}: the data set is empty")
    latent_steps = config.latent_steps or checkpoint.latent_steps
    answer_tokens = config.answer_tokens or checkpoint.format.answer_tokens
    lengths = tuple(len(checkpoint.prompt_ids(problem.question)) for problem in task.problems)
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
    return Plan(
        config,
        checkpoint,
        task,
        whole.fingerprint,
        latent_steps,
        answer_tokens,
        lengths,
        scorer,
        weights_left_out(checkpoint, model),
    )


def _latents(config: RunConfig, scorer: ScorerPlan | None) -> str:
    if config.store.latents != "auto":
        return config.store.latents
    return "none" if scorer is None else "float16"
