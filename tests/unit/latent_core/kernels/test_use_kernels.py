"""Kernels are for GPUs, and their absence is reported once."""

import importlib.util

import pytest
import torch

from latent_core import kernels


def test_a_cpu_needs_none() -> None:
    assert not kernels.use_kernels(torch.device("cpu"))


def test_a_gpu_without_triton_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kernels._have_triton.cache_clear()
    try:
        assert not kernels.use_kernels(torch.device("cuda"))
        assert not kernels.use_kernels(torch.device("cuda", 0))
    finally:
        kernels._have_triton.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "Triton is not installed: the GPU computes the same with more and slower kernels; pip install triton"
    ]
