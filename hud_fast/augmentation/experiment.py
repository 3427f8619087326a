"""One draw of the downstream test: its fields, its labels, its generator, every row by every classifier."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation.agreement import judge_cubes, train_judge
from hud_fast.augmentation.classifier import Classifier
from hud_fast.augmentation.draws import draw_labels, number_of
from hud_fast.augmentation.fields import Labels, Sides, split_fields
from hud_fast.augmentation.generator import Generated, Generator, generate
from hud_fast.augmentation.leaks import TOLERANCE, TestSpectra, check_places, twins
from hud_fast.augmentation.options import CLASSIFIERS, AugmentationOptions
from hud_fast.augmentation.rows import OWN, ROWS, Added, Material
from hud_fast.augmentation.scores import Score
from hud_fast.augmentation.svm import SVM
from hud_fast.augmentation.windows import Array, own_side
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.progress import Progress
from hud_fast.scenes import Scene

FEWEST = 2  # train pixels of a class: a mixture needs two
SHOWN_ROWS = ("real", "hud", "both")  # whose predictions are kept for figures
SHOWN_CUBES = 6
Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Experiment:
    """A scene with all its splits; `classes` tells of every class of the scene, `numbers` are those used."""

    scene: Scene
    labels: Labels  # (H, W), of the used classes
    options: AugmentationOptions
    sides: list[Sides]  # a draw each
    twins: list[int]
    numbers: tuple[int, ...]
    classes: list[Values]

    @classmethod
    def of(
        cls,
        scene: Scene,
        labels: NDArray[np.integer],
        names: Sequence[str] | None,
        options: AugmentationOptions,
    ) -> Experiment:
        """Split the scene as often as there are draws, and see which classes can be tested in all of them.

        Raises
        ------
        InputError
            Fewer than two classes are left.
        """
        known = np.where(scene.valid, labels, 0).astype(np.int64)
        if not (known > 0).any():
            raise InputError("augment: `labels` must label a valid pixel of the scene, got none")
        sides, removed = [], []
        for draw in range(options.draws):
            found = split_fields(known, number_of(options.seed, draw, 1), valid=scene.valid)
            same = twins(scene.cube, found)
            sides.append(found.without(same))
            removed.append(int(same.sum()))
        classes, numbers = [], []
        for number in np.unique(known[known > 0]).tolist():
            why = _why_not(number, sides)
            classes.append(
                {
                    "number": number,
                    "name": _name(number, names),
                    "pixels": int((known == number).sum()),
                    "used": why is None,
                    "why": why,
                    "cut_in": [draw for draw, one in enumerate(sides) if number in one.cut],
                }
            )
            numbers += [number] if why is None else []
        if len(numbers) < 2:
            told = "; ".join(f"{one['name']}: {one['why']}" for one in classes if one["why"])
            raise InputError(
                f"augment: `labels` must have two classes that can train and test, got {len(numbers)}"
                + (f" ({told})" if told else "")
            )
        used = tuple(numbers)
        kept = np.where(np.isin(known, used), known, 0)
        return cls(scene, kept, options, [one.of(used) for one in sides], removed, used, classes)

    def run(self, draw: int, progress: Progress) -> tuple[Values, dict[str, NDArray[Any]]]:
        """All counts of labels of one draw: what ``augment.json`` tells of it, and arrays for figures."""
        return _Draw(self, draw, progress).run()


class _Draw:
    """One draw while it is made."""

    def __init__(self, experiment: Experiment, draw: int, progress: Progress) -> None:
        self.experiment, self.draw, self.progress = experiment, draw, progress
        self.options, self.scene = experiment.options, experiment.scene
        self.numbers, self.sides = experiment.numbers, experiment.sides[draw]
        self.seconds: dict[str, float] = {}
        self.looked_at = 0
        self.done = 0
        self.image = own_side(self.scene.cube, self.sides.train_area)
        self.test_image = own_side(self.scene.cube, self.sides.test_area)
        self.tested = self.sides.test > 0
        self.test_spectra = TestSpectra(self.scene.cube[self.tested])
        self.rows = [row for row in ROWS if row in self.options.rows]
        self.examples: dict[str, NDArray[Any]] = {}

    def run(self) -> tuple[Values, dict[str, NDArray[Any]]]:
        start = time.monotonic()
        generator = judge = None
        if self.options.generates:
            with self._timed("fit"), user_input(f"draw {self.draw}, its train side"):
                generator = Generator(
                    self.scene,
                    self.sides.train_area,
                    preset=self.options.preset,
                    seed=self._seed(2),
                    endmembers=self.options.endmembers,
                    steps=self.options.steps,
                    device=self.options.device,
                )
            with self._timed("judge"):
                judge = train_judge(
                    self.image,
                    self.sides.train,
                    self.numbers,
                    seed=self._seed(3),
                    steps=self.options.classifier_steps,
                )
        counts = {
            str(count): self._count(count, generator, judge) for count in self.options.per_class
        }
        self._show_sides()
        self.seconds["total"] = time.monotonic() - start
        record = {
            "draw": self.draw,
            "split": self._split(),
            "counts": counts,
            "leaks": {
                "test_pixels": int(self.tested.sum()),
                "training_spectra": self.looked_at,
                "equal": 0,  # else `Leak` was raised
                "near": 0,
                "tolerance": TOLERANCE,
            },
            "seconds": self.seconds,
        }
        return record, self.examples

    def _count(self, count: int, generator: Generator | None, judge: Classifier | None) -> Values:
        """All rows with so many labels a class."""
        drawn = draw_labels(self.sides.train, count, self._seed(4))
        check_places(self.sides, drawn)
        seed = (self.options.seed, self.draw, count)
        material = Material(
            self.image, self.sides.train_area, drawn, self.numbers, self.options.added, seed
        )
        fitted = {name: self._fit(name, material, None, count) for name in self.options.classifiers}
        generated, agreement = None, None
        if generator is not None:
            generated = self._generate(generator, material, fitted.get("svm"), count)
            material = replace(material, generated=generated)
            with self._timed("judge"):
                assert judge is not None
                agreement = judge_cubes(
                    judge, self.test_image, self.sides.test, generated, seed=self._seed(5, count)
                )
        short: dict[str, dict[int, int]] = {}
        rows: dict[str, Values] = {}
        for row in self.rows:
            shared = None if row in OWN else material.added_by(row)
            rows[row] = {}
            for name in self.options.classifiers:
                began = time.monotonic()
                added = material.added_by(row, fitted[name]) if row in OWN else shared
                if added is not None and added.missing:
                    short[f"{row}/{name}" if row in OWN else row] = added.missing
                if row in OWN or name == self.options.classifiers[0]:
                    self._look(row, material, added)
                model = fitted[name] if added is None else self._fit(name, material, added, count)
                with self._timed("classifiers"):
                    said = model.predict(self.test_image, self.tested)
                score = Score.of(self.sides.test[self.tested], said[self.tested], self.numbers)
                rows[row][name] = {**score.to_dict(), "seconds": time.monotonic() - began}
                if row in SHOWN_ROWS and count == min(self.options.per_class):
                    self.examples[f"predicted_{row}_{name}"] = said
                self.done += 1
                self.progress(self.done, len(self.options.per_class) * self._cells)
        if count == max(self.options.per_class):
            self._show(drawn, generated)
        labelled = {number: int((drawn == number).sum()) for number in self.numbers}
        return {
            "labelled": labelled,
            "generated": None if generated is None else generated.to_dict(self.numbers),
            "agreement": agreement,
            "short": short,
            "rows": rows,
        }

    def _fit(self, name: str, material: Material, added: Added | None, count: int) -> Classifier:
        """The same first weights and the same order of batches in all rows."""
        with self._timed("classifiers"):
            return CLASSIFIERS[name].fit(
                material.training(added),
                seed=self._seed(6, count),
                steps=self.options.classifier_steps,
            )

    def _generate(
        self, generator: Generator, material: Material, svm: Classifier | None, count: int
    ) -> Generated:
        options = self.options
        with self._timed("labels"), user_input(f"draw {self.draw}, its train side"):
            model = generator.labelled(material.drawn)
        if svm is None and "hud-classifier" in self.rows:
            svm = SVM.fit(material.training(None), seed=0)
        known = material.drawn > 0
        with self._timed("sampling"):
            return generate(
                model,
                self.numbers,
                cubes=options.cubes,
                size=options.size,
                least=options.added,
                seed=self._seed(7, count),
                labelled=(self.scene.cube[known], material.drawn[known]),
                classifier=svm if "hud-classifier" in self.rows else None,
            )

    def _look(self, row: str, material: Material, added: Added | None) -> None:
        """No spectrum that trains may be one that tests; the real labels' windows, train in all rows."""
        windows = material.real if added is None else added.windows
        with self._timed("leaks"):
            self.looked_at += self.test_spectra.check(row, windows.values).looked_at

    def _split(self) -> Values:
        sides = self.sides
        either = sides.train_area | sides.test_area
        return {
            "train_area": int(sides.train_area.sum()),
            "test_area": int(sides.test_area.sum()),
            "strip": int((self.scene.valid & ~either).sum()),
            "twins": self.experiment.twins[self.draw],
            "classes": {
                number: {
                    "train": int((sides.train == number).sum()),
                    "test": int((sides.test == number).sum()),
                    "fields": sides.fields[number],
                    "cut": number in sides.cut,
                }
                for number in self.numbers
            },
        }

    def _show(self, drawn: Labels, generated: Generated | None) -> None:
        """Of the largest count."""
        self.examples["drawn"] = drawn
        if generated is not None:
            self.examples["spread"] = np.where(self.sides.train_area, generated.spread, 0)
            self.examples["cubes"] = generated.cubes[:SHOWN_CUBES]
            self.examples["maps"] = generated.maps[:SHOWN_CUBES]

    def _show_sides(self) -> None:
        sides, scene = self.sides, self.scene
        names = {one["number"]: one["name"] for one in self.experiment.classes}
        centres: Array | NDArray[np.float64] = np.empty(0)
        self.examples |= {
            "numbers": np.array(self.numbers),
            "names": np.array([names[number] for number in self.numbers]),
            "labels": self.experiment.labels,
            "sides": (sides.train_area + 2 * sides.test_area).astype(np.uint8),
            "train": sides.train,
            "test": sides.test,
            "wavelengths": centres if scene.wavelengths is None else scene.wavelengths,
            "rgb_bands": np.array(scene.display_bands),
        }

    @property
    def _cells(self) -> int:
        return len(self.rows) * len(self.options.classifiers)

    def _seed(self, *keys: int) -> int:
        return number_of(self.options.seed, self.draw, *keys)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


def _why_not(number: int, sides: Sequence[Sides]) -> str | None:
    """Why a class cannot be tested, None where it can."""
    train = min(int((one.train == number).sum()) for one in sides)
    test = min(int((one.test == number).sum()) for one in sides)
    if train < FEWEST:
        return f"in a draw {train} of its pixels are left to train, {FEWEST} are needed"
    return "in a draw none of its pixels is left to test" if test == 0 else None


def _name(number: int, names: Sequence[str] | None) -> str:
    if names is not None and number <= len(names):
        return names[number - 1]
    return f"class {number}"
