"""Training of a `Network` on random windows of one labelled scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, cross_entropy, one_hot

from hud_fast.metrics._classifier_networks import Network
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.samples import whole_windows

_DECAY = {"window": 0.0, "pixel": 1e-4}  # of weights; the authors' for "pixel"


def train(
    network: Network,
    x: Tensor,  # (C, H, W) prepared
    target: Tensor,  # (H, W) int64, -1 where no class counts
    *,
    kind: str,
    steps: int,
    batch: int,
    side: int,
    rate: float,
    seed: int,
    progress: Progress | None,
) -> None:
    """Adam on `batch` windows a step, each with at least one pixel that counts, in one of its four quarter turns."""
    rng = np.random.default_rng([seed, 1])
    h, w = (min(side, n) for n in target.shape)
    corner = (~whole_windows(target < 0, h, w)).nonzero().cpu()
    windows = x.unfold(1, h, 1).unfold(2, w, 1)  # (C, H', W', h, w), a view
    classes = target.unfold(0, h, 1).unfold(1, w, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=_DECAY[kind])
    network.train()
    for step in range(steps):
        r, c = (
            corner[torch.from_numpy(rng.integers(len(corner), size=batch))].to(x.device).unbind(1)
        )
        given, wanted = windows[:, r, c].transpose(0, 1), classes[r, c]
        if h == w > 1:
            turns = rng.integers(4, size=batch).tolist()
            given = torch.stack([one.rot90(k, (1, 2)) for one, k in zip(given, turns, strict=True)])
            wanted = torch.stack([one.rot90(k) for one, k in zip(wanted, turns, strict=True)])
        if kind == "window":  # falls to nothing: few steps end where many would
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        _loss(kind, network(given), wanted).backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval().requires_grad_(False)


def _loss(kind: str, logits: Tensor, target: Tensor) -> Tensor:  # (n, K, h, w), (n, h, w)
    if kind == "window":
        return cross_entropy(logits, target, ignore_index=-1)
    counts = target >= 0
    chance = logits.movedim(1, -1)[counts].softmax(-1)
    return binary_cross_entropy(chance, one_hot(target[counts], chance.shape[-1]).float())
