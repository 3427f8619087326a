"""Where the GPU tests run: Triton kernels on a GPU or in Triton's interpreter, CUDA kernels on a GPU."""

from __future__ import annotations

import pytest
import torch

from hud_fast.kernels import can_run

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = DEVICE == "cuda"

gpu_only = pytest.mark.skipif(not ON_GPU, reason="no GPU here")


def runner(backend: str):
    """A parameter of a test: the backend, skipped where it cannot run."""
    why = "no GPU here (nor TRITON_INTERPRET=1)" if backend == "triton" else "no GPU here"
    able = can_run(backend, device=DEVICE)
    return pytest.param(backend, marks=[] if able else pytest.mark.skip(reason=why))


with_triton = pytest.mark.parametrize("backend", [runner("triton")])
with_both = pytest.mark.parametrize("backend", [runner("triton"), runner("cuda")])


def captured(call, *, warm: int = 2) -> torch.cuda.CUDAGraph:
    """`call` in a CUDA graph, after some calls outside (a kernel's first compiles it and loads it)."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph
