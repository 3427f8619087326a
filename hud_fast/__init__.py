# Functions that bear the name of their module look like a second definition to mypy.
# mypy: disable-error-code="no-redef"
"""HUD, Hyperspectral Unmixing Diffusion (arXiv 2506.02601), on fast kernels.

From one hyperspectral scene: extract endmembers, solve every pixel's abundances on the simplex, learn a
diffusion model of the log-projected abundance maps, sample it, mix back into spectra, judge the result.

Names are resolved on first use, so that ``import hud_fast`` costs little beside torch's own import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from hud_fast.diffusion import HUD as HUD
    from hud_fast.diffusion import AbundanceModel as AbundanceModel
    from hud_fast.diffusion import fit_scenes as fit_scenes
    from hud_fast.kernels import CosineIndex as CosineIndex
    from hud_fast.kernels import WindowIndex as WindowIndex
    from hud_fast.kernels import build_config as build_config
    from hud_fast.kernels import can_run as can_run
    from hud_fast.kernels import check_gpu as check_gpu
    from hud_fast.kernels import cosine_max as cosine_max
    from hud_fast.kernels import fcls as fcls
    from hud_fast.kernels import last_backend as last_backend
    from hud_fast.kernels import log_project as log_project
    from hud_fast.kernels import log_standardize as log_standardize
    from hud_fast.kernels import normal_noise as normal_noise
    from hud_fast.kernels import q_sample as q_sample
    from hud_fast.kernels import sampler_step as sampler_step
    from hud_fast.kernels import set_isa as set_isa
    from hud_fast.kernels import simplex_softmax as simplex_softmax
    from hud_fast.kernels import softmax_decode as softmax_decode
    from hud_fast.kernels import standardized_softmax as standardized_softmax
    from hud_fast.kernels import window_search as window_search
    from hud_fast.metrics import Mixtures as Mixtures
    from hud_fast.metrics import block_diversity as block_diversity
    from hud_fast.metrics import copy_check as copy_check
    from hud_fast.metrics import evaluate as evaluate
    from hud_fast.metrics import point_fidelity as point_fidelity
    from hud_fast.metrics import quality as quality
    from hud_fast.metrics import real_reference as real_reference
    from hud_fast.metrics import realism as realism
    from hud_fast.metrics import reconstruction_cosine as reconstruction_cosine
    from hud_fast.metrics import spectral_angle as spectral_angle
    from hud_fast.pipeline import LabelledCubes as LabelledCubes
    from hud_fast.scenes import Library as Library
    from hud_fast.scenes import Scene as Scene
    from hud_fast.scenes import fetch as fetch
    from hud_fast.scenes import load_scene as load_scene
    from hud_fast.scenes import read_library as read_library
    from hud_fast.scenes import save_scene as save_scene
    from hud_fast.scenes import simulate_scene as simulate_scene
    from hud_fast.unmixing import Maps as Maps
    from hud_fast.unmixing import UnmixingAutoencoder as UnmixingAutoencoder
    from hud_fast.unmixing import count_endmembers as count_endmembers
    from hud_fast.unmixing import linear_abundances as linear_abundances
    from hud_fast.unmixing import spread_labels as spread_labels
    from hud_fast.unmixing import unmix as unmix
    from hud_fast.unmixing import vca as vca

_HOME = {
    "kernels": (
        "CosineIndex WindowIndex build_config can_run check_gpu cosine_max fcls last_backend log_project "
        "log_standardize normal_noise q_sample sampler_step set_isa simplex_softmax softmax_decode "
        "standardized_softmax window_search"
    ),
    "scenes": "Library Scene fetch load_scene read_library save_scene simulate_scene",
    "unmixing": "Maps UnmixingAutoencoder count_endmembers linear_abundances spread_labels unmix vca",
    "diffusion": "HUD AbundanceModel fit_scenes",
    "metrics": (
        "Mixtures block_diversity copy_check evaluate point_fidelity quality real_reference realism "
        "reconstruction_cosine spectral_angle"
    ),
    "pipeline": "LabelledCubes",
}
_MODULE_OF = {name: room for room, names in _HOME.items() for name in names.split()}

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    room = _MODULE_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'hud_fast' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hud_fast.{room}"), name)
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hud-fast")
    except PackageNotFoundError:  # imported from a tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return list(__all__)
