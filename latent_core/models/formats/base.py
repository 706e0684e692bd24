"""What a checkpoint format has to say about a latent reasoner."""

from dataclasses import dataclass

from latent_core.registry import Registry
from latent_core.tasks.answers import EXTRACTORS, Extractor


@dataclass(frozen=True)
class LatentFormat:
    """Conventions of a checkpoint family (prompt, tokens, answer), apart from its weights.

    Attributes:
        name: Short name of the family.
        architecture: The class name that `config.json` carries in `architectures`.
        prompt_template: The prompt, with `{question}` in it; it ends where the first latent is read.
        start_token: Token that opens the latent steps.
        end_token: Token that is forced behind the last latent.
        latent_token: Token that stands for a latent vector in id sequences.
        latent_steps: Published number of latent steps, T.
        answer_tokens: Longest answer to decode, in tokens, unless a run says otherwise.
        extractor: Name of the function that finds the answer in the decoded text.
    """

    name: str
    architecture: str
    prompt_template: str
    start_token: str = "<|start-latent|>"
    end_token: str = "<|end-latent|>"
    latent_token: str = "<|latent|>"
    latent_steps: int = 6
    answer_tokens: int = 32
    extractor: str = "last_number"

    @property
    def special_tokens(self) -> tuple[str, str, str]:
        """Start, end and latent token."""
        return self.start_token, self.end_token, self.latent_token

    def prompt(self, question: str) -> str:
        """Return the prompt text of a question."""
        return self.prompt_template.replace("{question}", question)

    def extract_answer(self, text: str) -> str | None:
        """Return the piece of the decoded text that holds the answer, or None."""
        extract: Extractor = EXTRACTORS[self.extractor]
        return extract(text)


FORMATS: Registry[LatentFormat] = Registry("checkpoint architecture", "latent_core.models.formats")
"""Formats by the architecture that `config.json` names."""


def register_format(checkpoint_format: LatentFormat) -> LatentFormat:
    """Make a format available under its architecture."""
    return FORMATS.register(checkpoint_format.architecture, checkpoint_format)
