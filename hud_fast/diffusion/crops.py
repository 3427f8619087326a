"""Training windows: random crops of the latent map, flipped and turned, free of masked pixels.

All windows of a batch are gathered in one indexing operation on the device: a window is the pixel
indices (top + i, left + j); a flip counts i or j down, a quarter turn swaps them. The eight
combinations are the symmetries of the square, drawn uniformly.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def free_windows(
    valid: NDArray[np.bool_],  # (H, W)
    crop: int,
) -> NDArray[np.int64]:  # (n, 2)
    """Top-left corners (row, column) of all `crop` x `crop` windows whose pixels are all valid."""
    H, W = valid.shape
    total = np.zeros((H + 1, W + 1), dtype=np.int64)  # sums over rectangles from the corner
    total[1:, 1:] = np.cumsum(np.cumsum(valid, axis=0, dtype=np.int64), axis=1)
    inside = (
        total[crop:, crop:] - total[:-crop, crop:] - total[crop:, :-crop] + total[:-crop, :-crop]
    )
    return np.argwhere(inside == crop * crop).astype(np.int64)


class CropSampler:
    """Draws batches of windows of a latent map.

    Parameters
    ----------
    z : Tensor, (D, H, W)
        The scene's latent map; values at masked pixels are never read.
    valid : array, (H, W) bool
        False marks masked pixels.
    crop : int
        Side of the windows in pixels.
    augment : bool
        Whether windows are flipped and turned.

    Raises
    ------
    ValueError
        If the scene is smaller than the window, or no window is free of masked pixels.
    """

    def __init__(
        self,
        z: Tensor,  # (D, H, W)
        valid: NDArray[np.bool_],  # (H, W)
        *,
        crop: int,
        augment: bool = True,
    ) -> None:
        D, H, W = z.shape
        if min(H, W) < crop:
            raise ValueError(
                f"HUD.fit: `scene` must be at least {crop} x {crop} pixels, the preset's `crop`, "
                f"got {H} x {W}; choose a preset with a smaller crop"
            )
        corners = free_windows(valid, crop)
        if not len(corners):
            raise ValueError(
                f"HUD.fit: `scene` must hold a {crop} x {crop} window without masked pixels, "
                "got none; choose a preset with a smaller crop"
            )
        self.crop, self.augment, self.width = crop, augment, W
        self.device = z.device
        self._pixels = z.reshape(D, H * W)
        self._corners = torch.from_numpy(corners[:, 0] * W + corners[:, 1]).to(z.device)  # (n,)

    @property
    def count(self) -> int:
        """Number of different windows, flips and turns apart."""
        return len(self._corners)

    def choose(
        self,
        batch: int,
        generator: torch.Generator,
    ) -> Tensor:  # (2, batch) int64, on the CPU
        """Which windows, and how each is turned. Reads two batches of integers from `generator`."""
        which = torch.randint(self.count, (batch,), generator=generator)
        turn = torch.randint(8, (batch,), generator=generator)
        return torch.stack([which, turn if self.augment else torch.zeros_like(turn)])

    def cut(
        self,
        chosen: Tensor,  # (2, batch) int64, on the scene's device
    ) -> Tensor:  # (batch, D, crop, crop)
        """The windows that `choose` named."""
        device = self.device
        which, turn = chosen[0], chosen[1].view(-1, 1, 1)
        i = torch.arange(self.crop, device=device).view(1, -1, 1)
        j = torch.arange(self.crop, device=device).view(1, 1, -1)
        row = torch.where(turn & 1 == 1, self.crop - 1 - i, i)  # (batch, crop, 1)
        column = torch.where(turn & 2 == 2, self.crop - 1 - j, j)  # (batch, 1, crop)
        window = torch.where(
            turn & 4 == 4,
            # transposed: what counted rows counts columns
            row.transpose(1, 2) * self.width + column.transpose(1, 2),
            row * self.width + column,
        )
        index = self._corners[which].view(-1, 1, 1) + window  # (batch, crop, crop)
        return self._pixels[:, index].movedim(0, 1).contiguous()

    def draw(
        self,
        batch: int,
        generator: torch.Generator,
    ) -> Tensor:  # (batch, D, crop, crop)
        """A batch of windows: `choose`, then `cut`."""
        return self.cut(self.choose(batch, generator).to(self.device))
