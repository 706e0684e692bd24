"""Plan of the LatentRM: what a run has to know about it before anything starts."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from latent_core.budgets import GainTables
from latent_core.budgets.gain_table import read_gain_tables
from latent_core.errors import UserError
from latent_core.reward.step_auc import first_telling_step
from latent_core.selection.calibration import ANSWER_CALIBRATION_FILE, CALIBRATION_FILE, VoteCalibration
from orchestrator.config.run import RunConfig, SearchConfig
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectoryStore
from orchestrator.store.trial import Scored

if TYPE_CHECKING:
    from latent_core.models.checkpoint import Checkpoint
    from latent_core.reward.checkpoint import RewardCheckpoint


@dataclass(frozen=True)
class ScorerPlan:
    """A checked LatentRM.

    Attributes:
        reward: The checkpoint, without weights.
        source: Where processes with other working directories find it.
        dtype: Precision of its computation.
        score_answer: Whether it reads written answers too.
        calibration: How latent-only scores become vote weights.
        answer_calibration: The same for answer-aware scores.
        gains: What further samples are worth, for rules that decide by it; None where nothing was fitted.
        left_out: Tensors of the checkpoint that nothing uses, by rule, and files beside its weights; empty if none.
    """

    reward: "RewardCheckpoint"
    source: str
    dtype: str
    score_answer: bool
    calibration: VoteCalibration
    answer_calibration: VoteCalibration
    gains: GainTables | None = None
    left_out: str = ""

    def check_length(self, prompt_tokens: int, latent_steps: int, answer_tokens: int) -> None:
        """Refuse trajectories that would not fit the LatentRM's context.

        Raises:
            UserError: With all the lengths involved.
        """
        needed = prompt_tokens + latent_steps + (1 + answer_tokens if self.score_answer else 0)
        if needed > self.reward.context_length:
            answer = " and the answer" if self.score_answer else ""
            raise UserError(
                f"scorer.checkpoint {self.reward.source}: the longest prompt has {prompt_tokens} tokens, with "
                f"{latent_steps} latent steps{answer} {needed}, but its context is {self.reward.context_length}; "
                "shorten or drop the question"
            )

    def scored(self, trajectories: TrajectoryStore) -> Scored:
        """Return where the scores of a trial are and how they are used."""
        latents = trajectories.latents
        spec = ScoreSpec(self.reward.fingerprint, self.dtype, self.score_answer, latents, self._extras)
        answers = self.answer_calibration if self.score_answer else None
        return Scored(ScoreStore(trajectories, spec), self.calibration, answers)

    @cached_property
    def _extras(self) -> dict[str, Any]:
        from latent_core.kinds import scorer_extras

        return scorer_extras(self.reward)

    def beam(self, search: SearchConfig, beams: int, latent_steps: int) -> BeamShape:
        """Return a search that this LatentRM guides.

        Args:
            search: Its configuration.
            beams: B, one of the numbers there.
            latent_steps: T.

        Raises:
            UserError: As `prune_from`.
        """
        width = beams * search.candidates
        shape = BeamShape(beams, search.candidates, self.reward.fingerprint, self.dtype, self._extras)
        if search.kind == "smc":
            shape = replace(shape, beams=width, candidates=1, kind="smc", temperature=search.temperature)
        prune_from = self.prune_from(search, latent_steps)
        # Where nothing is ever dropped, the step does not matter, and the trajectories are the same.
        never = width == 1 if search.kind == "smc" else search.candidates == 1
        return shape if never else replace(shape, prune_from=prune_from)

    def prune_from(self, search: SearchConfig, latent_steps: int) -> int:
        """Return the first latent step, of T, at which a search drops anything.

        Raises:
            UserError: If it is beyond T, or auto and the LatentRM's card does not say.
        """
        if search.prune_from != "auto":
            if search.prune_from > latent_steps:
                raise UserError(
                    f"search.prune_from: {search.prune_from} is beyond the {latent_steps} latent steps of a "
                    f"trajectory; set a step from 1 to {latent_steps}, or auto"
                )
            return search.prune_from
        areas = self.reward.card.auc_by_step
        if areas is None:
            from latent_core.reward.checkpoint import CARD_FILE

            raise UserError(
                f"search.prune_from: auto needs to know from which latent step on {self.reward.source} can tell right "
                f"from wrong, and its {CARD_FILE} does not say; set a step from 1 (prunes at once) to {latent_steps} "
                "(drops nothing before the last), or train it with train-rm"
            )
        return first_telling_step(areas, latent_steps)


def plan_scorer(config: RunConfig, checkpoint: "Checkpoint") -> ScorerPlan | None:
    """Check the configured LatentRM against the reasoner; None where there is none.

    Raises:
        UserError: If it cannot be used, or is missing where it is needed.
    """
    scorer = config.scorer
    if scorer.checkpoint is None:
        if config.search.kind != "none":
            raise UserError("search.kind: beam search is guided by a LatentRM; set scorer.checkpoint to one")
        return None
    if config.store.latents == "none":
        raise UserError(
            "store.latents: a scorer reads latents, so they have to be kept; leave store.latents out, or set it to "
            "float16 or float32"
        )
    # Model code takes seconds to import; only who has a LatentRM waits for it.
    from latent_core.reward.checkpoint import RewardCheckpoint
    from latent_core.reward.meta_model import check_reward_weights

    reward = RewardCheckpoint.open(scorer.checkpoint)
    reward.check_fits(checkpoint)
    _, assignment = check_reward_weights(reward)
    if scorer.score_answer and not reward.card.score_answer:
        raise UserError(
            f"scorer.score_answer: {scorer.checkpoint} was trained to score latents only; leave score_answer out, or "
            "train a LatentRM with training.score_answer=true"
        )
    local = Path(scorer.checkpoint).expanduser()
    return ScorerPlan(
        reward,
        str(local.absolute()) if local.is_dir() else scorer.checkpoint,
        scorer.dtype,
        reward.card.score_answer if scorer.score_answer is None else scorer.score_answer,
        scorer.vote_calibration or _fitted(reward, CALIBRATION_FILE),
        scorer.vote_calibration or _fitted(reward, ANSWER_CALIBRATION_FILE),
        read_gain_tables(reward.directory),
        assignment.describe_unused(reward.weights.ignored),
    )


def _fitted(reward: "RewardCheckpoint", name: str) -> VoteCalibration:
    """Return the calibration that was fitted when the LatentRM was trained, else the default one."""
    path = reward.directory / name
    if not path.is_file():
        return VoteCalibration()
    try:
        return VoteCalibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"scorer.checkpoint {reward.source}: {name} is not valid: {reason}") from error
