"""What the report of a run shows: all its figures, and its settings as they were in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.pipeline.errors import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene


class NotDrawn(RuntimeError):
    """All is there but some pictures."""

    def __init__(self, folder: Path, undrawn: Mapping[str, str]) -> None:
        self.undrawn = dict(undrawn)
        what = "; ".join(f"{name}: {reason}" for name, reason in self.undrawn.items())
        super().__init__(
            f"{folder} holds all results, but not all could be drawn ({what}); the same command tries that again"
        )


@contextlib.contextmanager
def drawing(name: str, undrawn: dict[str, str]) -> Iterator[None]:
    """Note under `name` why the block could not draw; a full disk and a lack of memory are no matter of drawing.

    Examples
    --------
    >>> undrawn = {}
    >>> with drawing("panels", undrawn):
    ...     raise ValueError("no such font")
    >>> undrawn
    {'panels': 'no such font'}
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        undrawn[name] = one_line(error)


def run_figures(
    scene: Scene,
    model: HUD,
    cubes: NDArray[np.float32],  # (B, h, w, C)
    maps: NDArray[np.float32],  # (B, h, w, D)
    undrawn: dict[str, str],
    labels: NDArray[np.integer] | None = None,  # (B, h, w)
) -> dict[str, Figure]:
    """Draw all figures of a run, with class maps where the cubes have `labels`; `undrawn` gets why one could not be."""
    from hud_fast import report

    real = model.abundances

    def shares() -> Any:
        return np.nanmean(real.reshape(-1, real.shape[-1]), axis=0)

    figures: dict[str, Callable[[], Figure]] = {
        "panels": lambda: report.panels(scene, cubes),
        "spectral_density": lambda: report.spectral_density(scene, cubes),
        "generated_abundances": lambda: report.generated_abundances(scene, cubes, maps),
        "abundance_maps": lambda: report.abundance_maps(
            real, report.title_of(scene, "abundance maps of the real scene")
        ),
        "endmembers": lambda: report.endmembers(scene, model.endmembers, shares()),
        "residual_map": lambda: report.residual_map(scene, real @ model.endmembers),
    }
    if labels is not None and model.classes is not None:
        known = model.classes
        names = dict(zip(known.numbers, known.names, strict=True))
        given = {
            "labels given": known.labels,
            "spread labels": known.map_of(known.shares.nan_to_num()).cpu().numpy(),
        }
        figures["labelled_samples"] = lambda: report.labelled_samples(scene, cubes, labels, names)
        figures["label_maps"] = lambda: report.label_maps(scene, given, names, "classes")
    if model.history:
        figures["training_curve"] = lambda: report.training_curve(model.history)
    made: dict[str, Figure] = {}
    for name, draw in figures.items():
        with drawing(name, undrawn):
            made[name] = draw()
    return made


def write_page(
    folder: Path, figures: Mapping[str, Figure], undrawn: dict[str, str], **facts: Any
) -> Path:
    """`report.write_report` with those of `figures` that can be rendered; `undrawn` gets the others' reasons."""
    from hud_fast.report import write_report
    from hud_fast.report.style import figure_png

    broken: dict[str, str] = {}
    with drawing("report.html", broken):
        write_report(folder, figures=figures, **facts)
    if broken:
        good = {}
        for name, figure in figures.items():
            with drawing(name, undrawn):
                figure_png(figure)
                good[name] = figure
        with drawing("report.html", undrawn):
            write_report(folder, figures=good, **facts)
    return folder / "report.html"


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
