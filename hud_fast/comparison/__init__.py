"""The paper's whole experiment: every method under one roof, two protocols, control rows, tables and figures."""

from __future__ import annotations

from hud_fast.comparison.run import ComparisonOptions, Unfinished, compare_scenes

__all__ = ["ComparisonOptions", "Unfinished", "compare_scenes"]
