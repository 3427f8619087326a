"""What the report of a run shows: all its figures, and its settings as they were in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene


def run_figures(
    scene: Scene,
    model: HUD,
    cubes: NDArray[np.float32],  # (B, h, w, C)
    maps: NDArray[np.float32],  # (B, h, w, D)
) -> dict[str, Figure]:
    """Draw all figures of a run."""
    from hud_fast import report

    real = model.abundances
    title = report.title_of(scene, "abundance maps of the real scene")
    figures = {
        "panels": report.panels(scene, cubes),
        "spectral_density": report.spectral_density(scene, cubes),
        "generated_abundances": report.generated_abundances(scene, cubes, maps),
        "abundance_maps": report.abundance_maps(real, title),
        "endmembers": report.endmembers(
            scene, model.endmembers, np.nanmean(real.reshape(-1, real.shape[-1]), axis=0)
        ),
        "residual_map": report.residual_map(scene, real @ model.endmembers),
    }
    if model.history:
        figures["training_curve"] = report.training_curve(model.history)
    return figures


def shown_settings(settings: Mapping[str, Any], model: HUD) -> dict[str, Any]:
    """Return the settings as the report shows them: choices left open replaced by what was taken."""
    preset = model.preset
    shown = {key: value for key, value in settings.items() if value is not None}
    shown.pop("settings", None)  # they are shown as the preset's, which they have changed
    sampler = settings.get("sampler") or preset.sampler
    shown |= {"preset": preset.name, "endmembers": model.D}
    if model.network is None:
        return _named({**shown, "patches": preset.patches})
    shown |= {
        "network": f"{model.network.parameter_count:,} parameters",
        "steps": preset.steps,
        "batch": preset.batch,
        "device": str(model.device),
        "sampler": sampler,
    }
    if settings.get("sampler_steps") or sampler == preset.sampler:
        shown["sampler_steps"] = settings.get("sampler_steps") or preset.sampler_steps
    # Everything else that the preset decides: what it takes to do the same again.
    for key, value in preset.to_dict().items():
        if key not in ("name", "summary", "sampler_steps"):
            shown.setdefault(key, ", ".join(map(str, value)) if isinstance(value, list) else value)
    return _named(shown)


def _named(shown: Mapping[str, Any]) -> dict[str, Any]:
    names = {"fine_tune": "fine-tuned", "start": "started from"}
    return {names.get(key, key.replace("_", " ")): value for key, value in shown.items()}
