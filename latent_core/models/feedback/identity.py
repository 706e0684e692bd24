"""Identity: the last hidden state itself is the next input, as in COCONUT."""

from typing import ClassVar

from torch import Tensor

from latent_core.models.feedback.base import Feedback, register_feedback


@register_feedback
class Identity(Feedback):
    """Feeds the last hidden state back as it is."""

    kind: ClassVar[str] = "identity"

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what was given."""
        return hidden
