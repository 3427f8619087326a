r"""Classifier two-sample test (C2ST): can a linear rule tell generated cubes from the scene by their local structure?

(Lopez-Paz & Oquab 2017, arXiv 1610.06545.) Cubes are taken for pictures of the first four principal components of the
real spectra's logarithms. A ridge classifier learns from 20 x 20 windows, without their colours and contrast, and its
AUC on windows of other tiles of the scene and other generated cubes is the value: 0.5 = it cannot tell, 1 = it always
can. This is the classifier of `realism`, for cubes of spectra of any generator: no endmembers are needed.

Both sides must be in one unit. Real cubes do not give 0.5 exactly: read a value beside that of real cubes, of the
other half of the scene say. Copies of the scene are not found out (`copies.copy_check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hud_fast._checks import as_mask, as_wide, check_finite, check_seed
from hud_fast.metrics._local_features import Bank, Space
from hud_fast.metrics._rows import check_seen
from hud_fast.metrics._window_classifier import (
    FEWEST_TILES,
    SPLITS,
    WINDOW,
    WindowClassifier,
    over_splits,
    tile_note,
)
from hud_fast.metrics.bootstrap import Estimate
from hud_fast.metrics.realism_windows import tiles
from hud_fast.metrics.streaming import Streaming

SMALLEST = 8  # pixels, of a cube: below it there is no structure to judge


@dataclass(frozen=True)
class C2ST:
    """The area under the curve, and what is doubtful about it."""

    auc: Estimate | None  # None: the scene is too small
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Value, interval and note, JSON-able."""
        return {"auc": None if self.auc is None else self.auc.to_dict(), "note": self.note}


def c2st(
    generated: Any,  # (B, h, w, C)
    real: Any,  # (H, W, C)
    *,
    real_mask: Any = None,  # (H, W) bool
    seed: int = 0,
) -> C2ST:
    """How well a linear rule tells windows of generated cubes from windows of the scene.

    Parameters
    ----------
    generated : array or tensor, (B, h, w, C)
        Cubes, B >= 2, h, w >= 8; one half of them trains the rule, the other tests it.
    real : array or tensor, (H, W, C)
        The scene or a part of it, in the unit of `generated`; pixels that are not finite are left out.
    real_mask : array or tensor of bool, (H, W), optional
        True = valid pixel.
    seed : int
        Of filters, tiles and windows.

    Returns
    -------
    C2ST
        Mean and two standard deviations over 5 repetitions with other filters, tiles and windows. Below 24 tiles of
        24 x 24 pixels the note says that the value is mostly chance, below 8 there is none.

    Raises
    ------
    TypeError
        Input that is not numeric, a mask that is not boolean.
    ValueError
        Shapes that do not fit, generated values that are not finite, a scene without a valid pixel that is not zero.

    References
    ----------
    Lopez-Paz & Oquab 2017, arXiv 1610.06545; random convolutions as in Dempster et al. 2020, arXiv 1910.13051.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> smooth = np.cumsum(np.cumsum(rng.random((72, 72, 3)) - 0.5, axis=0), axis=1)
    >>> scene = 1 + smooth / np.abs(smooth).max() / 2
    >>> c2st(rng.random((4, 24, 24, 3)) + 0.5, scene).auc.value > 0.95
    True
    """
    name = "c2st"
    cubes, scene, valid = _read(name, generated, real, real_mask)
    return _tested(cubes, scene, valid, check_seed(name, seed))


def _tested(cubes: Tensor, scene: Tensor, valid: Tensor, seed: int) -> C2ST:
    side = min(WINDOW, *cubes.shape[1:3])
    corners = tiles(valid, side)
    note = tile_note(len(corners))
    if len(corners) < FEWEST_TILES:
        return C2ST(None, note)
    pixels = scene[valid]
    space = Space.of_pixels(pixels)
    picture = torch.full((*valid.shape, space.K), torch.nan, device=scene.device)
    picture[valid] = space.maps(pixels)
    own = space.maps(cubes)
    found = []
    for split in range(SPLITS):
        bank = Bank.drawn(space.K, [seed, 3, split])
        rng = np.random.default_rng([seed, 4, split])
        found.append(WindowClassifier.of(bank, picture, corners, side, rng).auc(own))
    return C2ST(over_splits(found, 1.0), note)


def read_cubes(function: str, generated: Any, C: int | None = None, *, least: int = 2) -> Tensor:
    """At least `least` finite cubes; of C bands where C is known."""
    cubes = as_wide(function, "generated", generated).detach()
    if cubes.ndim != 4 or len(cubes) < least or min(cubes.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"{function}: `generated` must have shape (B, h, w, C) with B >= {least} and h, w >= {SMALLEST}, got "
            f"{tuple(cubes.shape)}"
        )
    if C not in (None, cubes.shape[3]):
        raise ValueError(
            f"{function}: `generated` must have the C = {C} bands of `real`, got {cubes.shape[3]}"
        )
    check_finite(function, "generated", cubes)
    return cubes


def read_scene(function: str, real: Any, mask: Any) -> tuple[Tensor, Tensor]:
    """The scene, and where it is valid."""
    scene = as_wide(function, "real", real).detach()
    if scene.ndim != 3 or scene.shape[2] < 1:
        raise ValueError(
            f"{function}: `real` must have shape (H, W, C) with C >= 1, got {tuple(scene.shape)}"
        )
    valid = scene.isfinite().all(dim=-1)
    keep = as_mask(function, "real_mask", mask, tuple(valid.shape))
    if keep is not None:
        valid &= keep.to(valid.device)
    if not bool((scene[valid] != 0).any()):
        raise ValueError(f"{function}: `real` must have valid pixels that are not all zero")
    return scene, valid


def _read(name: str, generated: Any, real: Any, mask: Any) -> tuple[Tensor, Tensor, Tensor]:
    scene, valid = read_scene(name, real, mask)
    cubes = read_cubes(name, generated, scene.shape[2])
    return cubes, scene.to(cubes.device), valid.to(cubes.device)


class ClassifierTwoSampleTest(Streaming[C2ST]):
    """`c2st` of cubes that come in parts, against one scene; all cubes are kept.

    Their order counts, as the seed does: which cubes train and which test is drawn by their places.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> test = ClassifierTwoSampleTest(rng.random((40, 40, 3)))
    >>> for cube in rng.random((4, 1, 16, 16, 3)):
    ...     test.update(cube)
    >>> test.compute().note
    'the classifier is undefined: 4 tiles of 24 x 24 pixels in the scene, it needs 8'
    """

    reductions: ClassVar = {"generated": "cat"}

    def __init__(self, real: Any, *, real_mask: Any = None, seed: int = 0) -> None:
        name = "ClassifierTwoSampleTest"
        self.scene, self.valid = read_scene(name, real, real_mask)
        self.seed = check_seed(name, seed)
        super().__init__()

    def settings(self) -> dict[str, Any]:
        return {"scene": tuple(self.scene.shape), "seed": self.seed}

    def update(self, generated: Any) -> None:  # (B, h, w, C)
        """Add cubes, one or more, all of one size."""
        name = "ClassifierTwoSampleTest.update"
        cubes = read_cubes(name, generated, self.scene.shape[2], least=1)
        size = tuple(cubes.shape[1:])
        before = tuple(self.states["generated"][0].shape[1:]) if self.states else size
        if size != before:
            raise ValueError(f"{name}: `generated` must be of {before} as before, got {size}")
        self.add(generated=cubes.cpu())

    def value(self, states: dict[str, Any]) -> C2ST:
        cubes = torch.cat(states["generated"])
        check_seen("ClassifierTwoSampleTest.compute", "generated", len(cubes))
        device = self.scene.device
        return _tested(cubes.to(device), self.scene, self.valid, self.seed)
