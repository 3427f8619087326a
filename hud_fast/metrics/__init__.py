"""How good generated cubes are: fidelity of spectra, diversity of blocks, copies, and real data's own values."""

from __future__ import annotations

from hud_fast.metrics._quality_rows import CopyValues, EndmemberEstimates, Quality, QualityRow
from hud_fast.metrics._realism_rows import Realism, RealismRow, SpaceValues
from hud_fast.metrics.bootstrap import Estimate
from hud_fast.metrics.classifier import Accuracy, SceneClassifier
from hud_fast.metrics.clusters import Clusters
from hud_fast.metrics.copies import CopyCheck, copy_check
from hud_fast.metrics.diversity import BlockDiversity, block_diversity
from hud_fast.metrics.evaluate import evaluate
from hud_fast.metrics.fidelity import PointFidelity, point_fidelity, spectral_floor
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.quality import quality
from hud_fast.metrics.realism import realism
from hud_fast.metrics.reference import RealReference, ReferenceValues, real_reference
from hud_fast.metrics.spectral import reconstruction_cosine, spectral_angle

__all__ = [
    "Accuracy",
    "BlockDiversity",
    "Clusters",
    "CopyCheck",
    "CopyValues",
    "EndmemberEstimates",
    "Estimate",
    "Mixtures",
    "PointFidelity",
    "Quality",
    "QualityRow",
    "RealReference",
    "Realism",
    "RealismRow",
    "ReferenceValues",
    "SceneClassifier",
    "SpaceValues",
    "block_diversity",
    "copy_check",
    "evaluate",
    "point_fidelity",
    "quality",
    "real_reference",
    "realism",
    "reconstruction_cosine",
    "spectral_angle",
    "spectral_floor",
]
