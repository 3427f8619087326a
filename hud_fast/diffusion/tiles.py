r"""A network for images of any size, in bounded memory: overlapping windows, blended at every step.

A network sees windows of the size it can hold, and what it says of a pixel is the mean over the windows that hold the
pixel, weighted by how far inside each window the pixel lies:

    eps(z, t)_p = sum_w m_w(p) eps_w(z, t)_p / sum_w m_w(p)

The latent image itself, its noise and the sampler's steps are one for the whole image, so windows agree from the
first step on: there is nothing to stitch (Bar-Tal et al. 2023, "MultiDiffusion", arXiv 2302.08113).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hud_fast._cores import Crew
from hud_fast.diffusion.network import memory_format


def starts(length: int, tile: int, step: int) -> list[int]:
    """Where windows of `tile` begin that cover `length`: at most `step` apart, evenly spread, the last at the end.

    Examples
    --------
    >>> starts(100, 64, 48), starts(64, 64, 48), starts(161, 64, 48)
    ([0, 36], [0], [0, 32, 64, 97])
    """
    count = 1 + -(-(length - tile) // step)
    if count == 1:
        return [0]
    return [(length - tile) * k // (count - 1) for k in range(count)]


def ramp(tile: int, overlap: int) -> Tensor:  # (tile,) float32
    """Weights along one side: growing over `overlap` pixels, then 1, then falling; never 0."""
    inside = torch.arange(1, tile + 1).float() / (overlap + 1)
    return torch.minimum(inside, inside.flip(0)).clamp_max(1.0)


class Tiled(nn.Module):
    """A denoiser that sees an image of ``shape`` in windows.

    Parameters
    ----------
    network : Module
        Predicts the noise of (b, D, h, w).
    shape : (H, W)
        Of the image.
    tile, overlap : int
        Side of the windows (of the image where that is smaller), and how much neighbours share at least;
        overlap < tile.
    group : int
        Windows in one call of the network; always that many, so that no image's numbers depend on its size's remainder.
    crew : Crew, optional
        Who calls the network; by default the caller.
    """

    weights: Tensor  # (h, w)
    total: Tensor  # (H, W)

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int],
        *,
        tile: int,
        overlap: int,
        group: int,
        crew: Crew | None = None,
    ) -> None:
        super().__init__()
        self.network, self.group = network, group
        self._crew = crew or Crew(1, None)
        self.window = h, w = min(tile, shape[0]), min(tile, shape[1])
        rows, columns = (
            starts(whole, side, side - min(overlap, side - 1))
            for whole, side in zip(shape, self.window, strict=True)
        )
        self.corners = [(i, j) for i in rows for j in columns]
        device = next(network.parameters()).device
        self.weights = (ramp(h, overlap)[:, None] * ramp(w, overlap)[None, :]).to(device)
        self.total = torch.zeros(shape, device=device)
        for i, j in self.corners:
            self.total[i : i + h, j : j + w] += self.weights

    def forward(
        self,
        z: Tensor,  # (B, D, H, W)
        t: Tensor,  # (B,) int64, all equal
    ) -> Tensor:  # (B, D, H, W)
        places = [(b, i, j) for b in range(len(z)) for i, j in self.corners]
        parts = [places[i : i + self.group] for i in range(0, len(places), self.group)]

        def said(part: list[tuple[int, int, int]]) -> Tensor:
            padded = part + part[:1] * (self.group - len(part))
            windows = torch.stack([self._window(z, *place) for place in padded])
            windows = windows.contiguous(memory_format=memory_format(z.device))
            noise: Tensor = self.network(windows, t[:1].expand(self.group))
            return noise.float()[: len(part)]

        blended = torch.zeros(z.shape, device=z.device)
        # one after the other: neighbours overlap, and sums in another order have other bits
        for part, noises in zip(parts, self._crew.map(said, parts), strict=True):
            for place, noise in zip(part, noises, strict=True):
                self._window(blended, *place).add_(noise * self.weights)
        return blended / self.total

    def _window(self, image: Tensor, b: int, i: int, j: int) -> Tensor:  # (D, h, w)
        h, w = self.window
        return image[b, :, i : i + h, j : j + w]
