"""Figures and page of a downstream test, from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation.options import CLASSIFIERS
from hud_fast.augmentation.rows import TITLES
from hud_fast.pipeline.figures import NotDrawn, drawing
from hud_fast.report import augmentation_figures, write_augmentation
from hud_fast.report.style import figure_png
from hud_fast.scenes import Scene

EXAMPLES = "examples.npz"
WORDS = {**TITLES, **{name: one.title for name, one in CLASSIFIERS.items()}}  # of rows, classifiers


def write_page(folder: Path, scene: Scene, result: Mapping[str, Any]) -> None:
    """Write ``report.html`` and ``figures/``.

    Raises
    ------
    NotDrawn
        Some pictures could not be drawn; the page is there without them.
    """
    undrawn: dict[str, str] = {}
    pictures = {}
    for name, draw in augmentation_figures(scene, result, WORDS, _examples(folder)).items():
        with drawing(name, undrawn):
            pictures[name] = figure_png(draw())
    write_augmentation(folder, result, WORDS, pictures)
    if undrawn:
        raise NotDrawn(folder, undrawn)


def _examples(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the first draw; none where somebody has taken them away."""
    path = folder / EXAMPLES
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
