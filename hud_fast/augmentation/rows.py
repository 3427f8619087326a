"""The rows of the downstream test: what is added to the few real labels.

Rows differ in their data alone. Each added set has as many windows of every class. Every class has the same weight
in all rows, and of it the real labels hold one half and what was added the other: of a few labels and a hundred
added windows neither drowns the other, whoever added them. A class that a row has nothing for gets its real windows
again, so that no row gains or loses by the share of a class. A real label weighs the same in all rows, as an SVM's
cost depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation.fields import Flags, Labels
from hud_fast.augmentation.windows import REACH, Array, Training, Windows, cut_windows

if TYPE_CHECKING:
    from hud_fast.augmentation.classifier import Classifier
    from hud_fast.augmentation.generator import Generated

TITLES = {
    "real": "real labels only",
    "flips": "flips, turns and noise",
    "mixtures": "mixtures of two real windows",
    "pseudo": "pseudo-labels on real pixels",
    "spread": "spread labels on real pixels",
    "hud-classifier": "HUD cubes, labels by an SVM",
    "hud-majority": "HUD cubes, labels by endmember",
    "hud": "HUD labelled cubes",
    "both": "HUD labelled cubes and pseudo-labels",
}
ROWS = tuple(TITLES)
CONTROLS = ("flips", "mixtures", "pseudo")  # what anybody has without a generator
GENERATED = ("spread", "hud-classifier", "hud-majority", "hud", "both")  # that need one
OWN = ("pseudo", "both")  # another set for each classifier

POOL = 10_000  # unlabelled pixels that a classifier is asked about
_MAD = 1.4826  # from a median of absolute values to a standard deviation


@dataclass(frozen=True, eq=False)
class Added:
    """What a row adds, and how many windows of a class it lacked."""

    windows: Windows
    missing: dict[int, int]


@dataclass(frozen=True, eq=False)
class Material:
    """What rows are made of: the train side of one draw with its few labels.

    Attributes
    ----------
    image : (H, W, C) float32
        Pixels of the train side alone (`windows.own_side`).
    area : (H, W) bool
        Where these are real.
    drawn : (H, W) int64
        The few real labels.
    numbers : tuple of int
        The classes.
    added : int
        Windows a class.
    seed : tuple of int
    generated : Generated, optional
    """

    image: Array
    area: Flags
    drawn: Labels
    numbers: tuple[int, ...]
    added: int
    seed: tuple[int, ...]
    generated: Generated | None = None

    @cached_property
    def real(self) -> Windows:
        """Around the few labels."""
        rows, columns = np.nonzero(self.drawn)
        places = np.zeros_like(rows), rows, columns
        return Windows(cut_windows(self.image[None], places), self.drawn[rows, columns])

    @cached_property
    def noise(self) -> NDArray[np.float32]:  # (C,)
        """Standard deviation of each band's noise, of the differences of neighbours in a row."""
        both = self.area[:, 1:] & self.area[:, :-1]
        if not both.any():
            return np.zeros(self.image.shape[-1], np.float32)
        step = (self.image[:, 1:] - self.image[:, :-1])[both]
        deviation = _MAD * np.median(np.abs(step), axis=0) / np.sqrt(2)
        return np.asarray(deviation, np.float32)

    def rng(self, stream: int) -> np.random.Generator:
        """Of one kind of row."""
        return np.random.default_rng([*self.seed, stream])

    def added_by(self, row: str, classifier: Classifier | None = None) -> Added | None:
        """What a row adds, None for ``real``; of `OWN` the classifier was trained on the real labels."""
        known = self.generated
        if row == "real":
            return None
        if row == "flips":
            return Added(self._flips(), {})
        if row == "mixtures":
            return Added(self._mixtures(), {})
        if row == "pseudo":
            assert classifier is not None
            return self._pseudo(classifier, self.added)
        assert known is not None
        if row == "spread":
            spread = np.where(self.area & (self.drawn == 0), known.spread, 0)
            return balanced(self.image[None], spread[None], self.numbers, self.added, self.rng(14))
        if row == "hud":
            return self._hud(self.added)
        if row == "both":
            assert classifier is not None
            parts = [
                self._hud(self.added - self.added // 2),
                self._pseudo(classifier, self.added // 2),
            ]
            missing = {
                number: sum(part.missing.get(number, 0) for part in parts)
                for number in self.numbers
                if any(number in part.missing for part in parts)
            }
            return Added(Windows.joined([part.windows for part in parts]), missing)
        maps = known.by_classifier if row == "hud-classifier" else known.by_majority
        plain = known.cubes[: known.plain]
        return balanced(plain, inside(maps), self.numbers, self.added, self.rng(15))

    def training(self, added: Added | None) -> Training:
        """The real labels and what was added, weighed as the module says."""
        real = self.real
        counts = np.array([(real.classes == number).sum() for number in self.numbers])
        each = counts.max() / counts  # a class's weight is that of the class with the most labels
        weights = each[np.searchsorted(self.numbers, real.classes)]
        if added is None:
            return Training(real, weights, self.numbers)
        windows = [real, added.windows]
        for number, missing in added.missing.items():
            own = np.flatnonzero(real.classes == number)
            windows.append(real.at(np.resize(own, missing)))
        joined = Windows.joined(windows)
        new = joined.classes[len(weights) :]
        totals = np.array([(new == number).sum() for number in self.numbers])
        share = counts.max() / totals
        return Training(
            joined,
            np.concatenate([weights, share[np.searchsorted(self.numbers, new)]]),
            self.numbers,
        )

    def _flips(self) -> Windows:
        """Real windows in one of the eight turns, with the scene's own noise once more."""
        rng = self.rng(11)
        chosen = self.real.at(self._pairs(rng)[:, 0])
        values = chosen.values.copy()
        turns = rng.integers(8, size=len(values))
        for turn in range(8):
            here = turns == turn
            some = values[here]
            some = np.rot90(some, turn % 4, axes=(1, 2))
            values[here] = some[:, :, ::-1] if turn >= 4 else some
        values += self.noise * rng.standard_normal(values.shape, dtype=np.float32)
        return Windows(values, chosen.classes)

    def _mixtures(self) -> Windows:
        """Convex mixtures of two real windows of one class."""
        rng = self.rng(12)
        one, other = (self.real.at(of) for of in self._pairs(rng).T)
        share = rng.uniform(size=(len(one.classes), 1, 1, 1)).astype(np.float32)
        return Windows(share * one.values + (1 - share) * other.values, one.classes)

    def _pairs(self, rng: np.random.Generator) -> NDArray[np.int64]:  # (n, 2)
        """`added` pairs of two different real windows of each class, as their places."""
        found = []
        for number in self.numbers:
            own = np.flatnonzero(self.real.classes == number)
            first = rng.integers(len(own), size=self.added)
            step = rng.integers(1, len(own), size=self.added) if len(own) > 1 else 0
            found.append(np.stack([own[first], own[(first + step) % len(own)]], axis=1))
        return np.concatenate(found)

    @cached_property
    def _pseudo_maps(self) -> dict[int, Labels]:
        """By classifier; two rows ask for the same."""
        return {}

    def _pseudo(self, classifier: Classifier, n: int) -> Added:
        """Real pixels as the classifier labels them: of each class the half that it is surer of."""
        if id(classifier) not in self._pseudo_maps:
            self._pseudo_maps[id(classifier)] = self._labelled_by(classifier)
        kept = self._pseudo_maps[id(classifier)]
        return balanced(self.image[None], kept[None], self.numbers, n, self.rng(17))

    def _labelled_by(self, classifier: Classifier) -> Labels:
        places = np.flatnonzero(self.area & (self.drawn == 0))
        places = np.sort(self.rng(13).permutation(places)[:POOL])
        rows, columns = np.unravel_index(places, self.area.shape)
        scores = classifier.scores_at(self.image[None], (np.zeros_like(rows), rows, columns))
        best = scores.argmax(axis=1)
        ordered = np.sort(scores, axis=1)
        margin = ordered[:, -1] - ordered[:, -2]
        kept = np.zeros(self.area.shape, np.int64)
        for place, number in enumerate(self.numbers):
            said = np.flatnonzero(best == place)
            sure = said[np.argsort(-margin[said], kind="stable")][: -(-len(said) // 2)]
            kept[rows[sure], columns[sure]] = number
        return kept

    def _hud(self, n: int) -> Added:
        assert self.generated is not None
        maps = inside(self.generated.maps)
        return balanced(self.generated.cubes, maps, self.numbers, n, self.rng(16))


def inside(maps: NDArray[np.integer]) -> NDArray[np.int64]:  # (n, h, w), both
    """The maps with 0 where a window would leave the cube."""
    found = np.zeros(maps.shape, np.int64)
    middle = slice(REACH, -REACH)
    found[:, middle, middle] = maps[:, middle, middle]
    return found


def balanced(
    images: Array,  # (m, H, W, C)
    maps: NDArray[np.integer],  # (m, H, W), 0 = none
    numbers: tuple[int, ...],
    n: int,
    rng: np.random.Generator,
) -> Added:
    """`n` windows of each class around pixels that the maps give it, each pixel once before one comes twice."""
    chosen, missing = [], {}
    for number in numbers:
        places = rng.permutation(np.flatnonzero(maps == number))
        if len(places):
            chosen.append(np.resize(places, n))
        else:
            missing[number] = n
    flat = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
    windows = cut_windows(images, np.unravel_index(flat, maps.shape))
    return Added(Windows(windows, maps.reshape(-1)[flat].astype(np.int64)), missing)
