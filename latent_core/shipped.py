"""Shipped source: the hash of every module that decides what is in the store, as it was shipped.

Written by `make record`. A module with another hash has been edited: what it decides is stored apart.
"""

from collections.abc import Mapping
from typing import Final

SOURCES: Final[Mapping[str, str]] = {
    "latent_core.answers.choice": "859a8aa39a374721",
    "latent_core.answers.extractors": "7390ce9a65c636ec",
    "latent_core.answers.grading": "d519f356864da54a",
    "latent_core.answers.mathematics": "8f72fd869be88c39",
    "latent_core.answers.parsing": "49b5ab561752225c",
    "latent_core.kernels": "ed805c1a3acbde69",
    "latent_core.kernels.philox": "78f3f8f9e5bd7422",
    "latent_core.models.backbones.base": "d927ce2cdb9af109",
    "latent_core.models.backbones.gpt2": "dcc93908c4b5e9a6",
    "latent_core.models.backbones.llama": "f470137b59cf18a5",
    "latent_core.models.feedback": "7e66841dd3a3a5ab",
    "latent_core.models.feedback.base": "7cbdba8d2bd70147",
    "latent_core.models.feedback.identity": "9d6539d9ca4eb751",
    "latent_core.models.feedback.latent_head": "9485a9c24ab1fe92",
    "latent_core.models.feedback.projector": "8d4ac02a95b5909f",
    "latent_core.models.formats.base": "aefb7b8da4ab85f7",
    "latent_core.models.formats.coconut": "357046c3419299c6",
    "latent_core.models.formats.codi": "f6ef27d3dde23006",
    "latent_core.models.formats.colar": "3348c85c35c0879e",
    "latent_core.randomness": "66569803cf0d1f81",
    "latent_core.row_invariance": "b14c28f94cd9770e",
    "latent_core.samplers.answer_sampling": "646eea53b7d36af7",
    "latent_core.samplers.base": "336797a04d49b98b",
    "latent_core.samplers.gaussian": "f02bb193b81dfcc8",
    "latent_core.samplers.mc_dropout": "5dc6c5bb3e67bb5f",
    "latent_core.samplers.none": "d78d903b7533ab7f",
    "latent_core.samplers.singular_value": "b3da3cb505ce9891",
    "latent_core.tasks.base": "7c08b264efa0aeb4",
    "latent_core.tasks.columns": "4596d6052636237d",
    "latent_core.tasks.hub": "21ffd085ae4021f4",
    "latent_core.tasks.hub_files": "301e3b7835026f19",
    "latent_core.tasks.loading": "668863c631074e48",
    "latent_core.tasks.local": "5cd9e21feb467ed4",
    "latent_core.tasks.path_finding": "f0103a4b108ed221",
    "latent_core.tasks.reasoning_gym": "dc2c013f290bb530",
    "latent_core.tasks.rows": "0b27f21721e8b0b6",
    "latent_core.tasks.tables": "60739ef118612f3d",
}
