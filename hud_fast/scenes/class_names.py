"""Names of the classes 1, 2, ... in the ground truth of the catalogue's scenes (0 = unlabelled)."""

from __future__ import annotations

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
