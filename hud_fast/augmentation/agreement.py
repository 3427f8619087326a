"""Whether the maps of generated cubes are right, as far as an independent classifier can tell.

The judge learns all labels of the train side, many times those that the generator was given. It is wrong on real
pixels of other fields, too: so what counts is the ratio of its agreement with the maps to its accuracy there.
"""

from __future__ import annotations

import numpy as np

from hud_fast.augmentation.classifier import Classifier
from hud_fast.augmentation.cnn import CNN, STEPS
from hud_fast.augmentation.draws import draw_labels
from hud_fast.augmentation.fields import Labels
from hud_fast.augmentation.generator import Generated
from hud_fast.augmentation.rows import Material, inside
from hud_fast.augmentation.scores import Score
from hud_fast.augmentation.windows import Array

MOST = 200  # labels of a class
LONGER = 2  # times the steps of the rows' networks
PIXELS = 10_000  # of the cubes


def train_judge(
    image: Array,  # (H, W, C), of the train side alone
    train: Labels,  # (H, W)
    numbers: tuple[int, ...],
    *,
    seed: int,
    steps: int | None = None,
) -> Classifier:
    """The CNN on all labels of the train side, at most 200 of a class."""
    drawn = draw_labels(train, MOST, seed)
    material = Material(image, train > 0, drawn, numbers, 0, (seed,))
    return CNN.fit(
        material.training(None), seed=seed, steps=LONGER * STEPS if steps is None else steps
    )


def judge_cubes(
    judge: Classifier,
    test_image: Array,  # (H, W, C), of the test side alone
    test: Labels,  # (H, W)
    generated: Generated,
    *,
    seed: int,
) -> dict[str, float | int | None]:
    """Accuracy on real test pixels, agreement with the maps of the cubes, and their ratio."""
    tested = test > 0
    real = Score.of(test[tested], judge.predict(test_image, tested)[tested], judge.numbers)
    maps = inside(generated.maps)
    maps[~np.isin(maps, judge.numbers)] = 0
    rng = np.random.default_rng([seed, 1])
    places = np.sort(rng.permutation(np.flatnonzero(maps))[:PIXELS])
    where = np.unravel_index(places, maps.shape)
    scores = judge.scores_at(generated.cubes, where)
    said = np.asarray(judge.numbers)[scores.argmax(axis=1)]
    cubes = Score.of(maps[where], said, judge.numbers)
    return {
        "real": real.oa,
        "cubes": cubes.oa,
        "ratio": cubes.oa / real.oa if real.oa > 0 else None,
        "real_aa": real.aa,
        "cubes_aa": cubes.aa,
        "pixels": len(places),
    }
