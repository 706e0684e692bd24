"""The recipe of a LatentRM."""

import pytest
from pydantic import ValidationError

from latent_core.errors import UserError
from latent_core.reward.training.settings import RewardTrainingSettings


def test_defaults_are_the_method() -> None:
    settings = RewardTrainingSettings()
    assert settings.objective == "contrastive"
    assert not settings.score_answer
    assert settings.init is None


def test_an_unknown_objective_names_its_neighbour() -> None:
    with pytest.raises(UserError, match="unknown objective 'outcomes': did you mean 'outcome'"):
        RewardTrainingSettings(objective="outcomes")


def test_the_final_rate_is_no_higher() -> None:
    with pytest.raises(ValidationError, match=r"final_learning_rate=0\.1 is above learning_rate=0\.01"):
        RewardTrainingSettings(learning_rate=0.01, final_learning_rate=0.1)
