"""Optuna trial source: its tree-structured Parzen estimator chooses (Akiba et al. 2019, arXiv 1907.10902)."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.distributions import bounds, is_distribution, kind_of, readable
from orchestrator.config.objective import Objective
from orchestrator.config.space import listed
from orchestrator.tuning.trial_source import Plan, SuggestedTrial, trial_config


@dataclass(frozen=True)
class DefineByRun:
    """The space as Optuna asks for it: first a grid, then the values of that grid's keys.

    Attributes:
        space: The grids.
    """

    space: tuple[Mapping[str, Any], ...]

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Have a trial of Optuna choose."""
        numbers = list(range(len(self.space)))
        number = trial.suggest_categorical("grid", numbers) if len(numbers) > 1 else 0
        choice = {key: self._value(trial, f"{number} {key}", value) for key, value in self.space[number].items()}
        return {"number": number, "choice": choice}

    def _value(self, trial: Any, name: str, value: Any) -> Any:
        if not is_distribution(value):
            values = listed(value)
            # By position: Optuna's categories are plain values, those of a configuration may be lists.
            return values[trial.suggest_categorical(name, list(range(len(values))))] if len(values) > 1 else values[0]
        kind, (low, high) = kind_of(name, value), bounds(name, value)
        if kind == "randint":
            return trial.suggest_int(name, int(low), int(high))
        return readable(trial.suggest_float(name, low, high, log=kind == "loguniform"))


class OptunaTrials:
    """Asks Optuna for each next trial, and tells it what became of it.

    A trial that would sample what another one is sampling right now waits for it, so that nothing is sampled twice.
    """

    def __init__(
        self, space: Sequence[Mapping[str, Any]], objectives: Sequence[Objective], seed: int, plan: Plan
    ) -> None:
        """Begin a study.

        Args:
            space: The grids.
            objectives: What is to be made large or small.
            seed: Seed of Optuna's own choices.
            plan: Makes a trial of a choice.
        """
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        # It would announce every study on the terminal.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        metric: str | list[str] = [one.key for one in objectives]
        mode: str | list[str] = [one.mode for one in objectives]
        if len(objectives) == 1:
            metric, mode = metric[0], mode[0]
        self._search = OptunaSearch(DefineByRun(tuple(space)), metric=metric, mode=mode, seed=seed)
        self._plan = plan
        self._asked = 0
        self._held: SuggestedTrial | None = None

    def ask(self, busy: Collection[str]) -> SuggestedTrial | None:
        """Return the next trial, or None while it has to wait for a twin."""
        if self._held is None:
            self._asked += 1
            chosen = self._search.suggest(str(self._asked))
            assert chosen is not None
            trial = self._plan(int(chosen["number"]), chosen["choice"])
            self._held = SuggestedTrial(str(self._asked), trial_config(trial), trial.store.spec.key)
        if self._held.key in busy:
            return None
        found, self._held = self._held, None
        return found

    def tell(self, asked: SuggestedTrial, result: Mapping[str, Any] | None, error: bool) -> None:
        """Tell Optuna the objectives of a trial that has ended."""
        self._search.on_trial_complete(asked.id, dict(result) if result is not None else None, error)

    def state(self) -> Any:
        """Return the study and what it has been asked."""
        with tempfile.TemporaryDirectory() as folder:
            self._search.save(str(Path(folder, "study")))
            study = Path(folder, "study").read_bytes()
        return {"asked": self._asked, "held": self._held, "study": study}

    def restore(self, state: Any) -> None:
        """Go on with a study."""
        self._asked, self._held = state["asked"], state["held"]
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "study").write_bytes(state["study"])
            self._search.restore(str(Path(folder, "study")))
