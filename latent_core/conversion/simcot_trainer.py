"""The state_dict of SIM-CoT's trainer on COCONUT: COCONUT's own, and a model that explains latents in training.

arXiv 2509.20317. On CODI its checkpoints are those of CODI's trainer with a decoder more; see `codi_trainer`.
"""

import re

from latent_core.conversion.base import Draft, Layout, Options, Source, register_layout
from latent_core.conversion.coconut_trainer import MODEL, draft_as
from latent_core.errors import UserError
from latent_core.models.formats.coconut import COCONUT

_AUXILIARY = "expainable_llm."
"""So spelled there."""
_EPOCH = re.compile(r"checkpoint_(?P<epoch>\d+)")
_EPOCHS_PER_STAGE, _STAGES, _STEPS_PER_STAGE = 3, 5, 2
"""Of the published training."""


def _recognises(source: Source) -> bool:
    return all(any(name.startswith(prefix) for name in source.tensors) for prefix in (MODEL, _AUXILIARY))


def _draft(source: Source, options: Options) -> Draft:
    if "latent_steps" in options.changes:
        return draft_as(COCONUT, source, options)
    return draft_as(COCONUT.model_copy(update={"latent_steps": _latent_steps(source)}), source, options)


def _latent_steps(source: Source) -> int:
    """Return the latent steps with which the published evaluation resumes from an epoch, which the file's name says.

    Raises:
        UserError: If at that epoch the training had reached no stage with latents.
    """
    epoch = next((int(found["epoch"]) for path in source.files if (found := _EPOCH.fullmatch(path.name))), None)
    stages = _STAGES if epoch is None else min(_STAGES, epoch // _EPOCHS_PER_STAGE)
    if stages == 0:
        raise UserError(
            f"checkpoint {source.name}: at epoch {epoch} SIM-CoT's training had reached no stage with latents; say "
            "with --latent-steps how many it thinks in"
        )
    return stages * _STEPS_PER_STAGE


register_layout(
    Layout(
        "simcot_trainer",
        f"SIM-CoT's trainer on COCONUT ({MODEL}*, {_AUXILIARY}*)",
        _recognises,
        _draft,
        turn=0,
        training_only={"auxiliary model of SIM-CoT's training": (_AUXILIARY,)},
    )
)
