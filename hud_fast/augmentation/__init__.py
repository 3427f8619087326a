"""What labelled cubes are worth: classifiers with a few real labels, with and without what is added to these.

``augment_scene`` runs the whole test: fields that train and fields that test (`fields`), a few labels (`draws`), a
check that no test pixel trains (`leaks`), rows of data (`rows`) by classifiers (`svm`, `cnn`, `transformer`), scores
with paired intervals (`scores`, `summary`), tables.
"""

from __future__ import annotations

from hud_fast.augmentation.leaks import Leak
from hud_fast.augmentation.options import CLASSIFIERS, AugmentationOptions
from hud_fast.augmentation.rows import CONTROLS, ROWS, TITLES
from hud_fast.augmentation.run import AugmentationResult, augment_scene

__all__ = [
    "CLASSIFIERS",
    "CONTROLS",
    "ROWS",
    "TITLES",
    "AugmentationOptions",
    "AugmentationResult",
    "Leak",
    "augment_scene",
]
