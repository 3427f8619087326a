"""Made-up results of ``hud-fast augment``: what ``augment.json`` and ``examples.npz`` hold, without any training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation import ROWS
from hud_fast.augmentation.scores import Score
from hud_fast.augmentation.summary import agreement_of, notes_of, summary_of
from hud_fast.report.machine import machine, versions
from hud_fast.scenes import Scene

SKILL = {  # accuracy at 5 labels a class
    "real": 0.55,
    "flips": 0.57,
    "mixtures": 0.56,
    "pseudo": 0.6,
    "spread": 0.64,
    "hud-classifier": 0.55,
    "hud-majority": 0.5,
    "hud": 0.66,
    "both": 0.67,
}
CLASSES = {
    1: "Oats $1 & <b>rye</b>",
    2: "Corn-notill",
    4: "Woods",
    7: "Buildings-Grass-Trees-Drives",
}


def augment_result(
    draws: int = 3,
    per_class: tuple[int, ...] = (5, 20),
    rows: tuple[str, ...] = ROWS,
    classifiers: tuple[str, ...] = ("svm", "cnn"),
    classes: dict[int, str] | None = None,
    tested: int = 40,  # pixels a class
    seed: int = 0,
) -> dict[str, Any]:
    """As read from ``augment.json``: scores of classifiers that are right with the odds of `SKILL`."""
    names = classes or CLASSES
    numbers = tuple(names)
    rng = np.random.default_rng(seed)

    def score(row: str, count: int, offset: float) -> dict[str, Any]:
        truth = np.repeat(numbers, tested)
        odds = min(0.98, SKILL[row] + 0.1 * np.log2(count / 5) + offset)
        said = np.where(rng.random(truth.size) < odds, truth, rng.choice(numbers, truth.size))
        return {**Score.of(truth, said, numbers).to_dict(), "seconds": 0.5}

    made = []
    for draw in range(draws):
        luck = rng.normal(0, 0.03)
        counts = {}
        for count in per_class:
            counts[str(count)] = {
                "labelled": {str(number): count for number in numbers},
                "generated": {"plain": 24, "asked": {}, "pixels": {}, "no_class": 0.1},
                "agreement": {
                    "real": 0.8 + luck,
                    "cubes": 0.72 + luck,
                    "ratio": 0.9,
                    "real_aa": 0.7,
                    "cubes_aa": 0.65,
                    "pixels": 1000,
                },
                "short": {"hud-majority": {str(numbers[0]): 100}},
                "rows": {
                    row: {name: score(row, count, luck) for name in classifiers} for row in rows
                },
            }
        side = {"train": 60, "test": tested, "fields": 2, "cut": False}
        made.append(
            {
                "draw": draw,
                "split": {
                    "train_area": 900,
                    "test_area": 800,
                    "strip": 100,
                    "twins": draw,
                    "classes": {str(number): dict(side) for number in numbers},
                },
                "counts": counts,
                "leaks": {
                    "test_pixels": tested * len(numbers),
                    "training_spectra": 5000,
                    "equal": 0,
                    "near": 0,
                    "tolerance": 1e-6,
                },
                "seconds": {"fit": 2.0, "classifiers": 8.0, "total": 10.0},
            }
        )
    told: list[dict[str, Any]] = [
        {
            "number": number,
            "name": name,
            "pixels": 100,
            "used": True,
            "why": None,
            "cut_in": [0] if number == numbers[0] else [],
        }
        for number, name in names.items()
    ]
    told.append(
        {
            "number": 99,
            "name": "Towers",
            "pixels": 3,
            "used": False,
            "why": "in a draw 1 of its pixels are left to train, 2 are needed",
            "cut_in": [],
        }
    )
    result: dict[str, Any] = {
        "format": "hud_fast augmentation",
        "status": "finished",
        "command": "hud-fast augment field.mat --labels '<gt>.mat' --out field",
        "scene": {"name": "field <i>", "shape": [40, 36, 7], "valid": 1440, "labelled": 403},
        "settings": {
            "fingerprint": "0",
            "labels": "1",
            "per_class": list(per_class),
            "draws": draws,
            "preset": "instant",
            "endmembers": None,
            "classifiers": list(classifiers),
            "rows": list(rows),
            "added": 100,
            "cubes": 24,
            "size": None,
            "steps": None,
            "classifier_steps": None,
            "seed": 0,
        },
        "classes": told,
        "draws": made,
        "machine": machine(),
        "versions": versions(),
        "commit": None,
        "seconds": {"fit": 2.0 * draws, "classifiers": 8.0 * draws, "total": 10.0 * draws},
    }
    result = json.loads(json.dumps(result))
    result["summary"] = summary_of(result["draws"], per_class, classifiers, rows)
    result["agreement"] = agreement_of(result["draws"], per_class) if "hud" in rows else {}
    result["notes"] = notes_of(result)
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def augment_examples(
    scene: Scene, classifiers: tuple[str, ...] = ("svm", "cnn")
) -> dict[str, NDArray[Any]]:
    """As in ``examples.npz``, of stripes as fields."""
    H, W, _ = scene.cube.shape
    numbers = np.array(list(CLASSES))
    labels = np.broadcast_to(numbers[np.arange(W) * len(numbers) // W], (H, W)).astype(np.int64)
    above = np.arange(H)[:, None] < H // 2
    train, test = np.where(above, labels, 0), np.where(above, 0, labels)
    drawn = np.where((np.arange(H)[:, None] == 3) & (np.arange(W) % 4 == 1), labels, 0)
    found: dict[str, NDArray[Any]] = {
        "numbers": numbers,
        "names": np.array(list(CLASSES.values())),
        "labels": labels,
        "sides": np.where(above, 1, 2).repeat(W, axis=1).astype(np.uint8),
        "train": train,
        "test": test,
        "drawn": drawn,
        "wavelengths": np.empty(0),
        "rgb_bands": np.array([0, 1, 2]),
        "spread": train,
        "cubes": np.stack([scene.cube[:16, :16]] * 3),
        "maps": np.stack([labels[:16, :16]] * 3),
    }
    for row in ("real", "hud", "both"):
        found |= {f"predicted_{row}_{name}": test for name in classifiers}
    return found
