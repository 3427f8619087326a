"""From a scene to endmembers, abundances and classes: extraction, count, solvers, the autoencoder, label spreading."""

from __future__ import annotations

from hud_fast.unmixing.autoencoder import UnmixingAutoencoder
from hud_fast.unmixing.hysime import count_endmembers
from hud_fast.unmixing.linear import linear_abundances
from hud_fast.unmixing.matching import Match, match_spectra
from hud_fast.unmixing.methods import (
    METHODS,
    Maps,
    check_count_of,
    maps_scene,
    same_unit,
    solve,
    unmix,
)
from hud_fast.unmixing.spreading import spread_labels
from hud_fast.unmixing.summary import unmixing_summary
from hud_fast.unmixing.vca import vca

__all__ = [
    "METHODS",
    "Maps",
    "Match",
    "UnmixingAutoencoder",
    "check_count_of",
    "count_endmembers",
    "linear_abundances",
    "maps_scene",
    "match_spectra",
    "same_unit",
    "solve",
    "spread_labels",
    "unmix",
    "unmixing_summary",
    "vca",
]
