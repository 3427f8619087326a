"""Whether work captured in a CUDA graph and replayed does what it does launch by launch: a small network's training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hud_fast.kernels.gpu_check.examine import captured
from hud_fast.kernels.noise.normal_noise import normal_noise

_STEPS = 8
_LOSS, _WEIGHT = (
    1e-3,
    5e-3,
)  # gradients of convolutions may be summed in any order, and Adam divides by their size


def why_not(device: torch.device) -> str:
    """What is wrong with graphs on a device; "" where nothing is."""
    if device.type != "cuda":
        return "graphs are for GPUs"
    plain, weights = train(device, capture=False)
    found, others = train(device, capture=True)
    if not torch.allclose(found, plain, rtol=_LOSS, atol=0):
        return f"a replayed training step has losses {found.tolist()} instead of {plain.tolist()}"
    if not torch.allclose(others, weights, rtol=0, atol=_WEIGHT):
        return f"a replayed training ends {float((others - weights).abs().max()):.2g} away in its weights"
    return ""


def train(device: torch.device, *, capture: bool) -> tuple[Tensor, Tensor]:
    """Losses and weights, on the CPU, of a few steps on noise that changes from step to step."""
    shape = (4, 3, 16, 16)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 3, 3, padding=1)
        ).to(device)  # fmt: skip
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True, capturable=device.type == "cuda")
    clean = torch.randn(shape, generator=generator).to(device)
    row = torch.zeros(1, dtype=torch.int64, device=device)
    losses = torch.zeros(_STEPS + 8, device=device)

    def step() -> None:
        noise = normal_noise(shape, seed=1, step=row, device=device, backend="torch")
        for weight in weights:
            weight.grad = None
        loss = (network(clean + noise) - noise).square().mean()
        loss.backward()
        optimizer.step()
        losses.index_copy_(0, row, loss.detach().view(1))
        row.add_(1)

    if capture:
        graph, _ = captured(step, device)
        while int(row) < _STEPS:
            graph.replay()
    else:
        for _ in range(_STEPS):
            step()
    flat = torch.cat([weight.detach().reshape(-1) for weight in weights])
    return losses[:_STEPS].cpu(), flat.cpu()
