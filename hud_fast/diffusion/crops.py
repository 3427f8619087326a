"""Training windows: random crops of latent maps, flipped and turned, free of masked pixels.

A window is pixel numbers, its corner's plus the offsets of its turn. Offsets are made once: a table of one row a
scene and turn, since how far apart two rows of pixels lie is the scene's width. A batch is then one sum and one
gather on the device, which names no device of its own and waits for nothing. The eight turns are the symmetries of
the square, drawn uniformly: 1 counts rows from below, 2 columns from the right, 4 swaps them.

Windows may come from several scenes, which lie one behind the other. Each scene is then equally likely, whatever its
size: one network serves them all, and a scene of 300 x 300 pixels has ten times the windows of one of 95 x 95 without
being ten times as much to learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion.windows import largest_crop, training_windows, window_sums

TURNS = 8


def turned_offsets(
    crop: int,
    width: int,
) -> NDArray[np.int64]:  # (8, crop * crop)
    """What to add to the number of a window's first pixel, in a map of rows of `width`: one row a turn."""
    rows, columns = np.mgrid[:crop, :crop]
    last = crop - 1
    table = []
    for turn in range(TURNS):
        i, j = (columns, rows) if turn & 4 else (rows, columns)
        i, j = last - i if turn & 1 else i, last - j if turn & 2 else j
        table.append((i * width + j).ravel())
    return np.stack(table).astype(np.int64)


class CropSampler:
    """Draws batches of windows of one or several latent maps.

    Parameters
    ----------
    z : Tensor (D, H, W), or a sequence of them
        The scenes' latent maps, of one D and on one device; values at masked pixels are never read.
    valid : array (H, W) bool, or a sequence of them
        False marks masked pixels.
    filled : array (H, W) bool, or a sequence of them, optional
        Masked pixels whose values were filled in: a window may hold a few (see `windows`).
    crop : int
        Side of the windows in pixels.
    step : int
        What the network needs `crop` to be a multiple of, for the advice of an error.
    augment : bool
        Whether windows are flipped and turned.

    Raises
    ------
    ValueError
        If a scene is smaller than the window, or has no window free of masked pixels, or another D.

    Examples
    --------
    >>> maps = [torch.zeros(3, 9, 12), torch.ones(3, 20, 8)]
    >>> sampler = CropSampler(maps, [np.ones((9, 12), bool), np.ones((20, 8), bool)], crop=8)
    >>> sampler.counts
    (10, 13)
    >>> chosen = sampler.choose(4, torch.Generator().manual_seed(0))
    >>> bool((sampler.cut(chosen)[:, 0, 0, 0].long() == sampler.scene_of(chosen)).all())
    True
    """

    def __init__(
        self,
        z: Tensor | Sequence[Tensor],  # each (D, H, W)
        valid: NDArray[np.bool_] | Sequence[NDArray[np.bool_]],  # each (H, W)
        *,
        crop: int,
        augment: bool = True,
        filled: NDArray[np.bool_] | Sequence[NDArray[np.bool_]] | None = None,  # each (H, W)
        step: int = 1,
    ) -> None:
        maps = [z] if isinstance(z, Tensor) else list(z)
        masks = [valid] if isinstance(valid, np.ndarray) else list(valid)
        none: list[None] = [None] * len(maps)
        mended = [filled] if isinstance(filled, np.ndarray) else list(filled or none)
        corners, tables, pixels = [], [], 0
        for number, (scene, mask, more) in enumerate(zip(maps, masks, mended, strict=True)):
            D, H, W = scene.shape
            what = "HUD.fit: `scene`" if len(maps) == 1 else f"fit_scenes: `scenes[{number}]`"
            if len(maps[0]) != D:
                raise ValueError(
                    f"{what} must have {len(maps[0])} endmembers as the first has, got {D}"
                )
            found = np.empty((0, 2), np.int64)
            if min(H, W) >= crop:
                found = training_windows(mask, crop, more)
            if not len(found):
                must = f"be at least {crop} x {crop} pixels, the preset's `crop`, got {H} x {W}"
                if min(H, W) >= crop:
                    must = f"hold a {crop} x {crop} window without masked pixels, got none in {H} x {W}"
                fits = largest_crop(mask, more, step)
                advice = f"the largest that fits: --set crop={fits} (in Python: replace(preset, crop={fits}))"
                raise ValueError(f"{what} must {must}; {advice if fits else 'no smaller one fits'}")
            if more is not None and window_sums(more, crop)[tuple(found.T)].any():
                warnings.warn(
                    f"{what}: {int(more.sum()):,} missing pixels hold a copy of their nearest valid one in the "
                    f"training (not where it is measured): few windows of {crop} x {crop} are free of them",
                    UserWarning,
                    stacklevel=2,
                )
            corners.append(pixels + found[:, 0] * W + found[:, 1])
            tables.append(turned_offsets(crop, W))
            pixels += H * W
        self.crop, self.augment = crop, augment
        self.counts = tuple(len(found) for found in corners)
        self.device = maps[0].device
        self._pixels = torch.cat([scene.flatten(1) for scene in maps], dim=1)  # (D, all pixels)
        self._corners = torch.from_numpy(np.concatenate(corners)).to(self.device)  # (all windows,)
        self._offsets = torch.from_numpy(np.concatenate(tables)).to(self.device)  # (8 scenes, ...)

    @property
    def count(self) -> int:
        """Number of different windows, flips and turns apart."""
        return sum(self.counts)

    def choose(
        self,
        batch: int,
        generator: torch.Generator,
    ) -> Tensor:  # (2, batch) int64, on the CPU
        """Which windows, and how each is turned: window numbers, and 8 times the scene plus the turn.

        Reads two batches of integers from `generator`; with several scenes a batch of floats between them.
        """
        scene = torch.zeros(batch, dtype=torch.int64)
        if len(self.counts) == 1:
            which = torch.randint(self.count, (batch,), generator=generator)
        else:
            scene = torch.randint(len(self.counts), (batch,), generator=generator)
            counts = torch.tensor(self.counts)
            where = torch.rand(batch, generator=generator, dtype=torch.float64)  # below 1
            which = (counts.cumsum(0) - counts)[scene] + (where * counts[scene]).long()
        turn = torch.randint(TURNS, (batch,), generator=generator)
        return torch.stack([which, TURNS * scene + (turn if self.augment else 0 * turn)])

    def scene_of(
        self,
        chosen: Tensor,  # (2, batch) int64
    ) -> Tensor | None:  # (batch,) int64
        """The number of the scene of each window that `choose` named; None where there is one scene."""
        return chosen[1] >> 3 if len(self.counts) > 1 else None

    def cut(
        self,
        chosen: Tensor,  # (2, batch) int64, on the scene's device
        pixels: Tensor | None = None,  # (D', all pixels)
    ) -> Tensor:  # (batch, D, crop, crop)
        """The windows that `choose` named, of the latent maps or of other numbers of the same pixels.

        Further rows of `chosen` are not looked at.
        """
        pixels = self._pixels if pixels is None else pixels
        index = self._corners[chosen[0], None] + self._offsets[chosen[1]]  # (batch, crop^2)
        batch, D = len(index), len(pixels)
        # the same index for all channels, the same pixels for all windows: neither is copied
        windows = torch.gather(pixels.expand(batch, -1, -1), 2, index[:, None].expand(-1, D, -1))
        return windows.view(batch, D, self.crop, self.crop)

    def draw(
        self,
        batch: int,
        generator: torch.Generator,
    ) -> Tensor:  # (batch, D, crop, crop)
        """A batch of windows: `choose`, then `cut`."""
        return self.cut(self.choose(batch, generator).to(self.device))
