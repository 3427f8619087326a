"""From a scene to endmembers and abundances: extraction, count, least squares, the autoencoder."""

from __future__ import annotations

from hud_fast.unmixing.autoencoder import UnmixingAutoencoder
from hud_fast.unmixing.hysime import count_endmembers
from hud_fast.unmixing.linear import linear_abundances
from hud_fast.unmixing.summary import unmixing_summary
from hud_fast.unmixing.vca import vca

__all__ = [
    "UnmixingAutoencoder",
    "count_endmembers",
    "linear_abundances",
    "unmixing_summary",
    "vca",
]
