"""Shipped source: the hash of every module that decides what is in the store, as it was shipped.

Written by `make record`. A module with another hash has been edited: what it decides is stored apart.
"""

from collections.abc import Mapping
from typing import Final

SOURCES: Final[Mapping[str, str]] = {
    "latent_core.kernels": "ed805c1a3acbde69",
    "latent_core.kernels.philox": "78f3f8f9e5bd7422",
    "latent_core.models.backbones.base": "d927ce2cdb9af109",
    "latent_core.models.backbones.gpt2": "dcc93908c4b5e9a6",
    "latent_core.models.backbones.llama": "f470137b59cf18a5",
    "latent_core.models.feedback": "7e66841dd3a3a5ab",
    "latent_core.models.feedback.base": "fd131c0a44a3aecd",
    "latent_core.models.feedback.identity": "9d6539d9ca4eb751",
    "latent_core.models.feedback.latent_head": "e4268756878d318e",
    "latent_core.models.feedback.projector": "8d4ac02a95b5909f",
    "latent_core.models.formats.base": "68c55cb0c33b3f9e",
    "latent_core.models.formats.coconut": "b7bffbbe9d788b93",
    "latent_core.models.formats.codi": "44e45715e2e81925",
    "latent_core.models.formats.colar": "3348c85c35c0879e",
    "latent_core.randomness": "2285c80cc50d7d29",
    "latent_core.samplers.answer_sampling": "74463b532f386e78",
    "latent_core.samplers.base": "09ff01badc4002e0",
    "latent_core.samplers.gaussian": "cc47bc2eeda932f5",
    "latent_core.samplers.mc_dropout": "80b20c1618d74cef",
    "latent_core.samplers.none": "d78d903b7533ab7f",
    "latent_core.samplers.singular_value": "6f1539f6a04f9e39",
    "latent_core.tasks.answers": "b0f4e19ca59c452f",
    "latent_core.tasks.base": "3a7f80f7aee67c6c",
    "latent_core.tasks.grading": "1d7f4dad965a98fb",
    "latent_core.tasks.hub": "2ca86408ed93b65f",
    "latent_core.tasks.loading": "4208bf8925b2cdee",
    "latent_core.tasks.local": "586da9c9a5c54f7f",
    "latent_core.tasks.path_finding": "f298f540f5cb73a8",
    "latent_core.tasks.reasoning_gym": "0acf15370d1c1b0d",
    "latent_core.tasks.rows": "7d217a26a9bf0510",
}
