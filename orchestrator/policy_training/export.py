"""Export of a trained policy: the best weights become a checkpoint directory in the layout of the start."""

import shutil
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from orchestrator.policy_training.job import PolicyJob
from orchestrator.policy_training.state import read_state


def export_policy(job: PolicyJob, best: Path, directory: Path) -> None:
    """Write the policy of a checkpoint of the training; what was there from an earlier attempt is replaced.

    Args:
        job: The training.
        best: Directory of the checkpoint.
        directory: Where the policy goes.
    """
    torch.set_num_threads(job.config.learner.threads)
    transformers_logging.disable_progress_bar()
    learner = job.new_learner("cpu")
    learner.load_state_dict(read_state(best).learner)
    shutil.rmtree(directory, ignore_errors=True)
    learner.save(directory)
