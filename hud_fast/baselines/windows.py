"""What a baseline learns from: windows of one scene in [-1, 1], by one linear map for the whole scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion.checkpoint import digest_of
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.windows import free_windows
from hud_fast.scenes import Scene

LARGEST = 1e38  # twice that is still a float32


@dataclass(frozen=True)
class Scaling:
    """[low, high] of the scene's cube to [-1, 1], one map for all bands: radiometry survives.

    Examples
    --------
    >>> scaling = Scaling(0.0, 4096.0)
    >>> scaling.encode(torch.tensor([0.0, 2048.0, 8192.0])).tolist()
    [-1.0, 0.0, 3.0]
    """

    low: float
    high: float
    clip: bool = False  # what lies outside is cut off, as the paper's authors do

    def __post_init__(self) -> None:
        if not -LARGEST < self.low < self.high < LARGEST:
            raise ValueError(
                f"Scaling: `low` and `high` must be finite with low < high, got {self.low} and {self.high}"
            )

    @classmethod
    def of(cls, scene: Scene) -> Scaling:
        """From 0, or what lies below it, to the largest value: nothing is cut off."""
        values = scene.valid_pixels
        low, high = min(0.0, float(values.min())), float(values.max())
        return cls(low, high if high > low else low + 1.0)

    def encode(self, values: Tensor) -> Tensor:
        """To [-1, 1]."""
        unit = (values - self.low) * (2 / (self.high - self.low)) - 1
        return unit.clamp(-1, 1) if self.clip else unit

    def decode(self, unit: Tensor) -> Tensor:
        """Back to the scene's unit."""
        return (unit + 1) * ((self.high - self.low) / 2) + self.low


class Windows:
    """Windows of a scene, scaled, each in one of eight turns; none with a masked pixel.

    Parameters
    ----------
    scene : Scene
        Without bad bands.
    scaling : Scaling
    crop : int
        Side in pixels.
    device : torch.device

    Raises
    ------
    ValueError
        A scene without such a window.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> windows = Windows(scene, Scaling.of(scene), 32, torch.device("cpu"))
    >>> windows.draw(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 12, 32, 32])
    """

    def __init__(self, scene: Scene, scaling: Scaling, crop: int, device: torch.device) -> None:
        valid: NDArray[np.bool_] = scene.valid
        if min(valid.shape) < crop or not len(free_windows(valid, crop)):
            raise ValueError(
                f"fit: `scene` must hold a {crop} x {crop} window without masked pixels, "
                f"got none in {scene.H} x {scene.W} pixels"
            )
        cube = torch.from_numpy(np.where(valid[..., None], scene.cube, np.float32(scaling.low)))
        unit = scaling.encode(cube.to(device)).movedim(-1, 0).contiguous()  # (C, H, W)
        self.scaling, self.crop, self.device = scaling, crop, device
        self.digest = digest_of(
            {"unit": unit.cpu()}
        )  # a training goes on with the same pixels only
        self._sampler = CropSampler(unit, valid, crop=crop)

    @property
    def count(self) -> int:
        """Number of different windows, turns apart."""
        return self._sampler.count

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:  # (batch, C, crop, crop)
        """A batch at random places, in random turns."""
        return self._sampler.draw(batch, generator)
