"""COCONUT: the last hidden state itself is fed back (Hao et al. 2024, arXiv 2412.06769)."""

from latent_core.models.formats.base import LatentFormat, register_format

COCONUT_GPT2 = register_format(
    LatentFormat(
        name="coconut",
        architecture="COCONUTGPT2",
        prompt_template="{question}\n<|start-latent|>",
        extractor="after_last_hash",
    )
)
