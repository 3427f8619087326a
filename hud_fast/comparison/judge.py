"""The judge of one task: classifiers, reference statistics, and every measure of a row of cubes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hud_fast.comparison.controls import real_blocks
from hud_fast.comparison.protocols import CROP, Task
from hud_fast.kernels import fcls
from hud_fast.metrics import (
    Estimate,
    SceneClassifier,
    block_diversity,
    block_estimates,
    c2st,
    copy_check,
    frechet_distance,
    inception_score,
    point_fidelity,
    spectral_floor,
)
from hud_fast.metrics.bootstrap import estimate, means, resampling_weights
from hud_fast.metrics.distances import distributions, wasserstein
from hud_fast.metrics.power_spectrum import power_spectra, spectrum_distance
from hud_fast.metrics.real_blocks import SceneTooSmall, cut_out, draw
from hud_fast.metrics.samples import Spectra, read_spectra, whole_windows
from hud_fast.pipeline.progress import Reporter
from hud_fast.scenes import Scene

Cubes = NDArray[np.float32]
Values = dict[str, Estimate | None]

SEEDS = 3  # classifiers of the sound protocol
BLOCKS = 128  # of the reference, whose abundances stand for it
CELL, STRIDE = 8, 4  # pixels, of a row of window features, and between the reference's
QUANTILE = 0.95

# Of a classifier by budget; a missing name is the classifier's own choice.
EFFORT: dict[str, dict[str, dict[str, Any]]] = {
    "sound": {"micro": {"steps": 4}, "demo": {}, "paper": {}},
    "paper": {
        "micro": {"layers": 1, "steps": 4},
        "demo": {"layers": 4},
        # 50 epochs of 4,000 windows; without the authors' early stopping
        "paper": {"layers": 16, "rate": 1e-4, "batch": 32, "side": 32, "steps": 6250},
    },
}


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures rows of cubes of one task; the classifiers are trained on first use and kept in `folder`."""

    task: Task
    folder: Path
    budget: str
    bootstrap: int
    device: str
    overwrite: bool
    reporter: Reporter

    def values(self, cubes: Cubes, *, real: bool = False) -> dict[str, Any]:
        """Every measure of the protocol, each a value with its interval, or None where it is undefined.

        Parameters
        ----------
        cubes : (n, 32, 32, C)
        real : bool
            These are the control row's: blocks of a half are compared with the other half, and under ``sound`` it
            is asked of the other half's blocks whether honest ones are called copies.
        """
        task = self.task
        if task.protocol == "paper":
            found = self._paper(cubes, real)
        else:
            asked = (
                real_blocks(task.halves.held_out, len(cubes), [task.seed, 15]) if real else cubes
            )
            found = {**self._sound(cubes, task.reference), "near_copies": self._copies(asked)}
        return {key: None if one is None else one.to_dict() for key, one in found.items()}

    def facts(self) -> dict[str, Any]:
        """What the numbers were made with."""
        training, reference, _ = self.task.classes
        accuracies = []
        for one in self.classifiers:
            known = [
                one.accuracy(self._known(part), labels, mask=part.valid)
                for part, labels in (
                    (self.task.training, training),
                    (self.task.reference, reference),
                )
            ]
            accuracies.append(
                {
                    "seed": one.settings["seed"],
                    "training": known[0].to_dict(),
                    "reference": known[1].to_dict(),
                }
            )
        return {
            "floor": spectral_floor(
                self.task.reference.cube,
                mask=self.task.reference.valid,
                **self.task.metric_options,
            ),
            "classifiers": accuracies,
        }

    @cached_property
    def classifiers(self) -> list[SceneClassifier]:
        """Three seeds on windows, or the authors' one on pixels."""
        sound = self.task.protocol == "sound"
        labels = self.task.classes[0]
        found = []
        for number in range(SEEDS if sound else 1):
            seed = self.task.seed + number
            path = self.folder / f"classifier-{self.budget}-{seed}-{self.task.fingerprint[:12]}"
            if path.is_dir() and not self.overwrite:
                found.append(SceneClassifier.load(path, device=self.device))
                continue
            title = f"{self.task.scene.name}, {self.task.protocol}: classifier {number}"
            with self.reporter.stage(title) as progress:
                made = SceneClassifier.fit(
                    self._known(self.task.training),
                    labels,
                    kind="window" if sound else "pixel",
                    background=not sound,
                    mask=self.task.training.valid,
                    seed=seed,
                    device=self.device,
                    progress=progress,
                    **EFFORT[self.task.protocol][self.budget],
                )
            made.save(path)
            found.append(made)
        return found

    # Read once: what makes them ready for a search is kept from row to row.
    @cached_property
    def _reference(self) -> Spectra:
        return _spectra("reference", self.task.reference)

    @cached_property
    def _training(self) -> Spectra:
        return _spectra("training", self.task.training)

    def _unit(self, cubes: Any) -> Any:
        """Values as the classifiers take them: the authors' are of [-1, 1]."""
        if self.task.protocol == "sound":
            return cubes
        return self.task.scaling.encode(torch.as_tensor(cubes))

    def _known(self, scene: Scene) -> Any:
        """A scene's cube as the classifiers take it; what is masked is 0."""
        return self._unit(np.where(scene.valid[..., None], scene.cube, np.float32(0)))

    def _sound(self, cubes: Cubes, reference: Scene) -> Values:
        seed, n = self.task.seed, len(cubes)
        weights = resampling_weights(n, self.bootstrap, [seed, 21])
        known, valid = reference.cube, reference.valid
        cosine = point_fidelity(cubes, self._reference, return_details=True).cosine
        alike = block_diversity(cubes, self._reference, return_details=True).similarity
        each = cosine.reshape(n, -1)
        fidelity, diversity = means(each.mean(axis=1), weights), means(alike, weights)
        angles = np.degrees(np.arccos(np.clip(each, -1, 1))).mean(axis=1)
        rows = self._features(cubes, reference)
        told = c2st(cubes, known, real_mask=valid, seed=seed)
        return {
            "point_fidelity": estimate(fidelity),
            "block_diversity": estimate(diversity),
            "ratio": estimate(diversity / fidelity) if bool((fidelity > 0).all()) else None,
            "angle": estimate(means(angles, weights)),
            **self._abundances(cubes, weights),
            "c2st": told.auc,
            **rows,
        }

    def _features(self, cubes: Cubes, reference: Scene) -> Values:
        spaces = self.classifiers
        found = block_estimates(
            [_numpy(one.cells(cubes, cell=CELL)) for one in spaces],
            [
                _numpy(
                    one.scene_cells(
                        self._known(reference), mask=reference.valid, cell=CELL, stride=STRIDE
                    )
                )
                for one in spaces
            ],
            bootstrap=self.bootstrap,
            seed=self.task.seed,
            probabilities=[_numpy(one.cell_probabilities(cubes, cell=CELL)) for one in spaces],
        )
        keys = ("fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage")
        return {key: getattr(found, key) for key in (*keys, "inception")}

    def _abundances(
        self,
        cubes: Cubes,
        weights: NDArray[np.float64],  # (1 + R, n)
    ) -> Values:
        """Distances of distributions and of power spectra to blocks of the reference, which are drawn once."""
        spectra = self.task.endmembers
        of_cubes = fcls(cubes, spectra).clip(0, 1)
        known = self._reference
        places = draw(
            whole_windows(known.valid, CROP, CROP),
            BLOCKS,
            np.random.default_rng([self.task.seed, 22]),
        )
        of_real = fcls(cut_out(known, places, (CROP, CROP)).numpy(), spectra).clip(0, 1)
        areas = [distributions(maps).area for maps in (of_cubes, of_real)]
        powers = [power_spectra(maps) for maps in (of_cubes, of_real)]
        apart = [wasserstein(means(areas[0], weights), areas[1].mean(axis=0))]
        apart.append(spectrum_distance(means(powers[0], weights), powers[1].mean(axis=0)))
        values = [estimate(one.mean(axis=1), centred=True) for one in apart]
        return {"abundances": values[0], "structure": values[1]}

    def _copies(self, cubes: Cubes) -> Estimate | None:
        weights = resampling_weights(len(cubes), self.bootstrap, [self.task.seed, 23])
        try:
            check = copy_check(cubes, self._training, quantile=QUANTILE, seed=self.task.seed)
        except SceneTooSmall:
            return None
        return estimate(means(check.near_copy.astype(np.float64), weights))

    def _paper(self, cubes: Cubes, real: bool) -> Values:
        halves = self.task.halves
        middle = len(cubes) // 2
        parts = [(cubes, self.task.reference)]
        if real:
            parts = [(cubes[:middle], halves.held_out), (cubes[middle:], halves.training)]
        nearest, alike, distances = [], [], []
        (network,) = self.classifiers
        for some, reference in parts:
            options = self.task.metric_options
            details = point_fidelity(
                some, reference.cube, mask=reference.valid, return_details=True, **options
            )
            nearest.append(details.cosine.reshape(len(some), -1).mean(axis=1))
            found = block_diversity(
                some, reference.cube, mask=reference.valid, turns=4, return_details=True, **options
            )
            alike.append(found.similarity)
            features = _numpy(network.features(self._unit(some))).reshape(-1, 64)
            known = _numpy(network.features(self._known(reference)[None]))[0][reference.valid]
            distances.append(frechet_distance(features, known))
        weights = resampling_weights(len(cubes), self.bootstrap, [self.task.seed, 21])
        fidelity, diversity = (means(np.concatenate(of), weights) for of in (nearest, alike))
        chances = _numpy(network.probabilities(self._unit(cubes)))
        score = inception_score(chances.reshape(-1, chances.shape[-1]), per_class=True)
        nan = float("nan")  # these two are of all pixels together, as the authors take them
        return {
            "point_fidelity": estimate(fidelity),
            "block_diversity": estimate(diversity),
            "ratio": estimate(diversity / fidelity) if bool((fidelity > 0).all()) else None,
            "inception": Estimate(score, nan, nan),
            "fid": Estimate(float(np.mean(distances)), nan, nan),
        }


def _spectra(argument: str, scene: Scene) -> Spectra:
    return read_spectra("compare", argument, scene.cube, "mask", scene.valid)


def _numpy(values: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.detach().cpu().numpy().astype(np.float64)
    return array
