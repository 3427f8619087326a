"""Classes of ground truth: their names in the catalogue's scenes (1, 2, ...; 0 = unlabelled), and colours for maps."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# The first seven are Okabe and Ito's (2008); each of the others is the one farthest from all before it, in the
# distances of Oklab, as seen with and without red or green blindness (Machado et al., 2009).
CLASS_COLOURS = (  # of class 0 = unlabelled, 1, 2, ...
    "#d9d9d9", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#551111", "#000088",
    "#2200ff", "#993355", "#8877ff", "#55cc88", "#6600bb", "#225500", "#003344", "#554488", "#77ff99", "#cc22cc",
    "#ff4477", "#221155", "#99ccff", "#cc3344", "#885588",
)  # fmt: skip


def class_colours(count: int) -> NDArray[np.uint8]:  # (count + 1, 3)
    """Red, green and blue of no class, then of the classes 1 to `count`; after 24 they begin again.

    Examples
    --------
    >>> class_colours(2).tolist()
    [[217, 217, 217], [230, 159, 0], [86, 180, 233]]
    """
    classes = len(CLASS_COLOURS) - 1
    which = [CLASS_COLOURS[0], *(CLASS_COLOURS[1 + i % classes] for i in range(count))]
    return np.array([list(bytes.fromhex(colour[1:])) for colour in which], np.uint8)


NO_CLASS = re.compile(
    r"un-?(classified|labell?ed|defined|known)|background|no[ -]?(data|class|label)|none|0?"
)


def is_no_class(name: str) -> bool:
    """Is it what the pixels without a class are called?

    Examples
    --------
    >>> is_no_class("Unclassified"), is_no_class("Corn")
    (True, False)
    """
    return NO_CLASS.fullmatch(name.strip().lower()) is not None


INDIAN_PINES = (
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-Grass-Trees-Drives",
    "Stone-Steel-Towers",
)

KSC = (
    "Scrub",
    "Willow swamp",
    "Cabbage palm hammock",
    "Cabbage palm/oak hammock",
    "Slash pine",
    "Oak/broadleaf hammock",
    "Hardwood swamp",
    "Graminoid marsh",
    "Spartina marsh",
    "Cattail marsh",
    "Salt marsh",
    "Mud flats",
    "Water",
)

PAVIA_CENTRE = (
    "Water",
    "Trees",
    "Asphalt",
    "Self-blocking bricks",
    "Bitumen",
    "Tiles",
    "Shadows",
    "Meadows",
    "Bare soil",
)

PAVIA_UNIVERSITY = (
    "Asphalt",
    "Meadows",
    "Gravel",
    "Trees",
    "Painted metal sheets",
    "Bare soil",
    "Bitumen",
    "Self-blocking bricks",
    "Shadows",
)

SALINAS = (
    "Broccoli green weeds 1",
    "Broccoli green weeds 2",
    "Fallow",
    "Fallow rough plough",
    "Fallow smooth",
    "Stubble",
    "Celery",
    "Grapes untrained",
    "Soil vineyard develop",
    "Corn senesced green weeds",
    "Lettuce romaine 4 weeks",
    "Lettuce romaine 5 weeks",
    "Lettuce romaine 6 weeks",
    "Lettuce romaine 7 weeks",
    "Vineyard untrained",
    "Vineyard vertical trellis",
)
