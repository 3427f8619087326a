"""HUD on the train side of a draw: cubes with class maps, and the two ways to label them afterwards.

The scene that it gets holds no test pixel: everything outside the train side is NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation.fields import Flags, Labels
from hud_fast.augmentation.rows import inside
from hud_fast.augmentation.windows import Array
from hud_fast.diffusion import HUD, PRESETS
from hud_fast.kernels import fcls
from hud_fast.scenes import Scene

if TYPE_CHECKING:
    from hud_fast.augmentation.classifier import Classifier

ASKED = 12  # cubes that rare classes are asked for in, all of them at once
SHARE = 0.5  # of their pixels


@dataclass(frozen=True, eq=False)
class Generated:
    """Cubes with their maps; classes are the user's numbers, 0 = none.

    Attributes
    ----------
    cubes : (n, h, w, C) float32
    maps : (n, h, w) int64
    plain : int
        The first so many were asked for no class.
    asked : dict of int to int
        In how many of the others a class was asked for.
    by_classifier, by_majority : (plain, h, w) int64
        Labels of the plain cubes, by a classifier of the few real labels, and by the endmember of the largest
        abundance.
    spread : (H, W) int64
        The scene's pixels as the generator labels them: 0 where no class has more than half.
    """

    cubes: Array
    maps: Labels
    plain: int
    asked: dict[int, int]
    by_classifier: Labels
    by_majority: Labels
    spread: Labels

    def to_dict(self, numbers: tuple[int, ...]) -> dict[str, Any]:
        """How much there is."""
        return {
            "plain": self.plain,
            "asked": self.asked,
            "pixels": {number: int((self.maps == number).sum()) for number in numbers},
            "no_class": float((self.maps == 0).mean()),
        }


class Generator:
    """A model of one train side, for all counts of labels.

    Without a network the labels of the same model are exchanged; with one they are trained, so each count needs its
    own.
    """

    def __init__(
        self,
        scene: Scene,
        area: Flags,  # (H, W)
        *,
        preset: str,
        seed: int,
        **options: Any,  # of `HUD.fit`
    ) -> None:
        cube = np.where(area[..., None], scene.cube, np.float32(np.nan))
        self.scene = scene.replace(cube=cube, mask=area, labels=None, truth=None)
        self.options: dict[str, Any] = {"preset": preset, "seed": seed, **options}
        self.once = not PRESETS[preset].trains
        self.model: HUD | None = None

    def labelled(self, drawn: Labels) -> HUD:
        """The model with these labels."""
        if self.model is None or not self.once:
            self.model = HUD.fit(self.scene, labels=drawn, **self.options)
            return self.model
        return self.model.labelled(self.scene, drawn)


def generate(
    model: HUD,  # with labels
    numbers: tuple[int, ...],
    *,
    cubes: int,
    size: tuple[int, int] | None,
    least: int,  # windows of a class; with fewer pixels it is asked for
    seed: int,
    labelled: tuple[Array, NDArray[np.int64]],  # the few real spectra (n, C) and their classes (n,)
    classifier: Classifier | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """Draw cubes with maps, and more of the classes that are too rare in them."""
    found: Any = model.sample(
        cubes,
        seed=seed,
        size=size,
        classes=True,
        residuals=True,
        return_abundances=True,
        progress=progress,
    )
    made, abundances, maps = found
    all_cubes, all_maps = [np.asarray(made)], [np.asarray(maps).astype(np.int64)]
    counts = {number: int((inside(all_maps[0]) == number).sum()) for number in numbers}
    rare = [number for number in numbers if counts[number] < least]
    if rare:
        with warnings.catch_warnings():
            # that patches bring less of it than asked is told by `Generated.to_dict`
            warnings.filterwarnings("ignore", "HUD.sample", UserWarning)
            more, its = model.sample(
                ASKED,
                seed=seed + 1,
                size=size,
                classes=dict.fromkeys(rare, SHARE / len(rare)),
                residuals=True,
            )
        all_cubes.append(np.asarray(more))
        all_maps.append(np.asarray(its).astype(np.int64))
    asked = dict.fromkeys(rare, ASKED)
    spectra, classes = labelled
    table = majority(_largest(fcls(spectra, _spectra(model))), classes, len(_spectra(model)))
    n, h, w = all_maps[0].shape
    by_classifier = np.zeros((n, h, w), np.int64)
    if classifier is not None:
        middle = np.nonzero(inside(np.ones((n, h, w), np.int64)))
        scores = classifier.scores_at(all_cubes[0], middle)
        by_classifier[middle] = np.asarray(numbers)[scores.argmax(axis=1)]
    return Generated(
        np.concatenate(all_cubes),
        np.concatenate(all_maps),
        n,
        asked,
        by_classifier,
        table[_largest(abundances)],
        spread_of(model, numbers),
    )


def majority(
    largest: NDArray[np.int64],  # (n,) endmember of the largest abundance
    classes: NDArray[np.int64],  # (n,)
    D: int,
) -> NDArray[np.int64]:  # (D,)
    """The class that most labelled pixels of an endmember have, 0 where it has none; of equals the first.

    Examples
    --------
    >>> majority(np.array([0, 0, 0, 2]), np.array([5, 4, 5, 4]), D=3).tolist()
    [5, 0, 4]
    """
    table = np.zeros(D, np.int64)
    for endmember in np.unique(largest).tolist():
        numbers, counts = np.unique(classes[largest == endmember], return_counts=True)
        table[endmember] = numbers[counts.argmax()]
    return table


def spread_of(model: HUD, numbers: tuple[int, ...]) -> Labels:  # (H, W)
    """The generator's own labels of the scene's pixels, hard: the class with more than half."""
    assert model.classes is not None
    shares = model.classes.shares.nan_to_num().cpu().numpy()
    own = np.asarray(model.classes.numbers)
    found = np.where(shares.max(axis=-1) > 0.5, own[shares.argmax(axis=-1)], 0)
    kept: Labels = np.where(np.isin(found, numbers), found, 0)
    return kept


def _largest(abundances: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.asarray(abundances.argmax(axis=-1), np.int64)


def _spectra(model: HUD) -> NDArray[np.float32]:  # (D, C)
    return np.ascontiguousarray(model.endmembers, dtype=np.float32)
