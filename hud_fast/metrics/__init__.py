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
from hud_fast.metrics.feature_rows import FeatureValues, block_estimates
from hud_fast.metrics.fidelity import PointFidelity, point_fidelity, spectral_floor
from hud_fast.metrics.frechet import FrechetDistance, frechet_distance, frechet_infinity
from hud_fast.metrics.inception import InceptionScore, inception_score
from hud_fast.metrics.kernel_distance import KernelDistance, kernel_distance
from hud_fast.metrics.manifold import Manifold, ManifoldValues, precision_recall_density_coverage
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.quality import quality
from hud_fast.metrics.realism import realism
from hud_fast.metrics.reference import RealReference, ReferenceValues, real_reference
from hud_fast.metrics.spectral import reconstruction_cosine, spectral_angle
from hud_fast.metrics.streaming import Streaming
from hud_fast.metrics.two_sample_test import C2ST, ClassifierTwoSampleTest, c2st

__all__ = [
    "C2ST",
    "Accuracy",
    "BlockDiversity",
    "ClassifierTwoSampleTest",
    "Clusters",
    "CopyCheck",
    "CopyValues",
    "EndmemberEstimates",
    "Estimate",
    "FeatureValues",
    "FrechetDistance",
    "InceptionScore",
    "KernelDistance",
    "Manifold",
    "ManifoldValues",
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
    "Streaming",
    "block_diversity",
    "block_estimates",
    "c2st",
    "copy_check",
    "evaluate",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_distance",
    "point_fidelity",
    "precision_recall_density_coverage",
    "quality",
    "real_reference",
    "realism",
    "reconstruction_cosine",
    "spectral_angle",
    "spectral_floor",
]
