"""A support vector machine on the spectra of single pixels, by scikit-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from hud_fast.augmentation.classifier import Array, Classifier, Standard
from hud_fast.augmentation.windows import Training

COST = 100.0  # C, of a pixel with weight 1


def scikit_learn(function: str) -> Any:
    """The module of support vector machines, or the error that says how to get it."""
    try:
        import sklearn.svm
    except ImportError as error:
        raise ImportError(
            f'{function}: the classifier svm needs the package scikit-learn: pip install "hud-fast[augment]"'
        ) from error
    return sklearn.svm


class SVM(Classifier):
    """Radial basis functions, C = 100, gamma = 1 / (bands * variance), one machine for each pair of classes."""

    title: ClassVar[str] = "SVM"
    reach: ClassVar[int] = 0

    def __init__(self, numbers: tuple[int, ...], standard: Standard, machine: Any) -> None:
        self.numbers, self.standard, self.machine = numbers, standard, machine

    @classmethod
    def fit(cls, training: Training, *, seed: int, steps: int | None = None) -> SVM:
        """Train it. Nothing in it is random, and it ends where it has converged."""
        del seed, steps
        svm = scikit_learn("augment_scene")
        standard = Standard(training.spectra, training.weights)
        machine = svm.SVC(C=COST, kernel="rbf", gamma="scale", decision_function_shape="ovr")
        x = standard(training.spectra).astype(np.float64)
        machine.fit(x, training.index, sample_weight=training.weights)
        return cls(training.numbers, standard, machine)

    def features(self, spectra: Array) -> Array:
        """Standardised spectra."""
        return self.standard(spectra)

    def scores(self, windows: Array) -> Array:
        """Votes of the pairs of classes, ties by how clear they were."""
        middle = windows.shape[1] // 2
        found = self.machine.decision_function(windows[:, middle, middle].astype(np.float64))
        if found.ndim == 1:  # two classes: how much speaks for the second
            found = np.stack([-found, found], axis=1)
        return np.asarray(found, np.float32)
