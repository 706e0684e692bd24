"""Without a GPU the tests of the kernels run in Triton's interpreter, chosen before Triton is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the CUDA device")
def test_kernels() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    here = Path(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ignore", str(here), str(here.parent)]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
