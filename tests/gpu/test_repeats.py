"""Three runs of every CUDA kernel on one input give the same bits: a race between threads would move some."""

from __future__ import annotations

import pytest
import torch
from gpu_launches import launches

from hud_fast.kernels import can_run

ON_GPU = can_run("cuda", device="cuda")
LAUNCHES = list(launches(torch.device("cuda" if ON_GPU else "cpu")))


def test_every_operation_with_cuda_kernels_is_launched():
    names = " ".join(name for name, _ in LAUNCHES)
    for word in (
        "fcls D=5",
        "fcls D=70",
        "cosine auto",
        "window direct",
        "window fft",
        "log_project",
        "simplex_softmax",
    ):
        assert word in names


@pytest.mark.parametrize(
    "launch", [launch for _, launch in LAUNCHES], ids=[name for name, _ in LAUNCHES]
)
def test_three_runs_give_the_same_bits(launch):
    first = [field.clone() for field in launch()]
    assert all(not field.isnan().any() for field in first)
    for _ in range(2):
        for again, known in zip(launch(), first, strict=True):
            assert torch.equal(again, known)


@pytest.mark.skipif(not ON_GPU, reason="no GPU here, or a build without CUDA kernels")
@pytest.mark.parametrize("name", ["fcls", "cosine", "window", "log_project", "simplex_softmax"])
def test_three_runs_of_a_real_size_give_the_same_bits(name):
    """Many blocks at once, whose order no run repeats."""
    for found, launch in launches(torch.device("cuda"), large=True):
        if found.startswith(name):
            test_three_runs_give_the_same_bits(launch)
