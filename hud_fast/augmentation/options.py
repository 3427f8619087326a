"""What is tested, and how long it may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hud_fast.augmentation.classifier import Classifier
from hud_fast.augmentation.cnn import CNN
from hud_fast.augmentation.rows import GENERATED, ROWS
from hud_fast.augmentation.svm import SVM
from hud_fast.augmentation.transformer import Transformer
from hud_fast.augmentation.windows import SIDE
from hud_fast.diffusion import PRESETS
from hud_fast.pipeline.errors import InputError

CLASSIFIERS: dict[str, type[Classifier]] = {"svm": SVM, "cnn": CNN, "transformer": Transformer}


@dataclass(frozen=True)
class AugmentationOptions:
    """Of `augment_scene`.

    Attributes
    ----------
    per_class : tuple of int
        Real labels of a class, each count a table.
    draws : int
        Of fields and labels.
    preset : str
        Of the generator.
    endmembers : int, optional
        None: as `HUD.fit` chooses.
    classifiers, rows : tuple of str
        Of `CLASSIFIERS` and `rows.TITLES`.
    added : int
        Windows a class that a row adds.
    cubes : int
        Generated ones that are asked for no class.
    size : (int, int), optional
        Rows and columns of a cube; None: the preset's.
    steps, classifier_steps : int, optional
        Of the generator's training and of the networks' among the classifiers, in place of their own.
    seed : int
    device : str, optional
        Of the generator; the classifiers are too small for a GPU.
    """

    per_class: tuple[int, ...] = (5, 10, 20)
    draws: int = 10
    preset: str = "instant"
    endmembers: int | None = None
    classifiers: tuple[str, ...] = tuple(CLASSIFIERS)
    rows: tuple[str, ...] = ROWS
    added: int = 100
    cubes: int = 24
    size: tuple[int, int] | None = None
    steps: int | None = None
    classifier_steps: int | None = None
    seed: int = 0
    device: str | None = None

    def check(self) -> None:
        """Refuse before any work what cannot be tested.

        Raises
        ------
        InputError
            An unknown name, a number out of its range, no row ``real``.
        """
        for name, given, known in (
            ("--classifiers", self.classifiers, CLASSIFIERS),
            ("--rows", self.rows, ROWS),
            ("--preset", (self.preset,), PRESETS),
        ):
            if not given or len(set(given)) < len(given):
                raise InputError(
                    f"{name} must be different names, got {', '.join(given) or 'none'}"
                )
            for one in given:
                if one not in known:
                    raise InputError(f"{name} must be of {', '.join(known)}, got {one!r}")
        if "real" not in self.rows:
            raise InputError(
                f"--rows must hold real, which all are compared with, got {', '.join(self.rows)}"
            )
        if not self.per_class or len(set(self.per_class)) < len(self.per_class):
            raise InputError(f"--per-class must be different counts, got {self.per_class}")
        for name, values, least in (
            ("--per-class", self.per_class, 2),
            ("--draws", (self.draws,), 1),
            ("--added", (self.added,), 2),
            ("--cubes", (self.cubes,), 1),
            ("--seed", (self.seed,), 0),
            ("--endmembers", (self.endmembers,), 2),
            ("--steps", (self.steps,), 1),
            ("--classifier-steps", (self.classifier_steps,), 1),
            ("--size", self.size or (None,), SIDE),
        ):
            for value in values:
                if value is not None and value < least:
                    raise InputError(f"{name} must be at least {least}, got {value}")

    @property
    def generates(self) -> bool:
        """Whether a row needs the generator."""
        return any(row in GENERATED for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """What decides the results, JSON-able."""
        found = asdict(self)
        del found["device"]
        order = [row for row in ROWS if row in self.rows]  # a table's order, whatever was typed
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in {**found, "rows": order}.items()
        }
