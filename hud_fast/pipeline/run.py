"""The main job: from a scene file to a model, generated cubes, numbers and a report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.cubes import MAPS, choose_format
from hud_fast.pipeline.device import to_measure
from hud_fast.pipeline.figures import NotDrawn, run_figures, shown_settings, write_page
from hud_fast.pipeline.memory import in_parts, of_job
from hud_fast.pipeline.model import classes_of
from hud_fast.pipeline.options import ModelOptions, SampleOptions, SceneOptions
from hud_fast.pipeline.progress import Progress, Reporter
from hud_fast.pipeline.realism import judged
from hud_fast.pipeline.rundir import RunFolder, read_json, write_json
from hud_fast.pipeline.stages import claimed, generated_cubes, job_settings, trained_model
from hud_fast.report.machine import machine, peak_memory, versions

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene


@dataclass(frozen=True)
class RunResult:
    """What a run made: the report's path and everything in it."""

    report: Path
    metrics: dict[str, Any]
    timings: dict[str, float]
    memory: dict[str, int]


def run_scene(
    source: str,
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    sample_options: SampleOptions | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Do it all, from a scene file or catalogue name to ``out/report.html``.

    Whatever an earlier, interrupted call with the same arguments finished is kept and not done
    again; the training goes on from its last checkpoint.

    Parameters
    ----------
    source : str
        A scene file or a catalogue name.
    out : path
        Gets ``model/``, ``generated/``, ``figures/``, ``metrics.json``, ``report.html`` and
        ``run.json``.
    scene_options, model_options, sample_options
        The choices; by default those of the command line.
    overwrite : bool
        Replace a finished run, or start an unfinished one afresh.
    reporter : Reporter, optional
        Told of each stage.

    Raises
    ------
    InputError
        The scene cannot be read or `out` cannot be used.
    NotDrawn
        All results are there, but for some pictures or the page; the next call draws them.
    ValueError, RuntimeError, OSError
        As the stages raise them.
    """
    scene_options = scene_options or SceneOptions()
    model_options = model_options or ModelOptions()
    sample_options = sample_options or SampleOptions()
    reporter = reporter or Reporter()
    model_options.check()
    sample_options.check(model_options.resolve())

    with reporter.stage("Reading the scene"):
        scene = scene_options.load(source)
    reporter.say(f"  {describe(scene)}")
    sample_options.wanted(classes_of(scene))
    kind = choose_format(sample_options.format, scene)
    model_options = in_parts(model_options, scene.shape, reporter)
    settings = job_settings(scene, model_options, sample_options, format=kind)
    preset = model_options.resolve()
    made = (sample_options.samples, *sample_options.window(preset))
    need = of_job(scene.shape, preset, made)
    with claimed("run", out, settings, overwrite, need, reporter) as folder:
        model = trained_model(scene, folder, model_options, reporter)
        cubes, maps = generated_cubes(
            scene, model, folder, model_options, sample_options, kind, reporter
        )
        return _finished(scene, model, cubes, maps, folder, reporter)


def describe(scene: Scene) -> str:
    """Return the scene in one line.

    Examples
    --------
    >>> from hud_fast.scenes import Scene
    >>> describe(Scene(np.ones((4, 5, 3)), name="field"))
    'field: 4 x 5 pixels, 3 bands'
    """
    H, W, C = scene.cube.shape
    span = ""
    if scene.wavelengths is not None:
        low, high = np.nanmin(scene.wavelengths), np.nanmax(scene.wavelengths)
        span = f" ({low:.0f} to {high:.0f} nm)"
    lost = H * W - int(scene.valid.sum())
    missing = f", {lost:,} pixels masked or missing" if lost else ""
    simulated = ", simulated" if scene.simulated else ""
    return f"{scene.name}: {H} x {W} pixels, {C} bands{span}{missing}{simulated}"


@by_first
def _finished(
    scene: Scene,
    model: HUD,
    cubes: NDArray[np.float32],  # (B, h, w, C)
    maps: NDArray[np.float32],  # (B, h, w, D)
    folder: RunFolder,
    reporter: Reporter,
) -> RunResult:
    """Measure, if that is not done, and draw."""
    path = folder.path / "metrics.json"
    if not path.exists():
        name = "Comparing with the real scene"
        with folder.stage("measuring"), reporter.stage(name) as progress:
            write_json(path, _metrics(scene, cubes, maps, model, progress))
    metrics: dict[str, Any] = read_json(path)
    with folder.stage("drawing"), reporter.stage("Drawing the report"):
        undrawn: dict[str, str] = {}
        labels = folder.path / "generated" / MAPS
        drawn = np.load(labels) if labels.exists() else None
        figures = run_figures(scene, model, cubes, maps, undrawn, drawn)
        memory = peak_memory()
        page = write_page(
            folder.path,
            figures,
            undrawn,
            scene=scene,
            generated=cubes,
            metrics=metrics,
            settings=shown_settings(folder.record["settings"], model),
            timings=folder.timings,
            memory=memory,
        )
    facts = {"memory": memory, "versions": versions(), "machine": machine()}
    folder.finish(**facts, model=model.summary(), undrawn=undrawn)
    if undrawn:
        raise NotDrawn(folder.path, undrawn)
    return RunResult(page, metrics, folder.timings, memory)


def _metrics(
    scene: Scene,
    cubes: NDArray[np.float32],
    maps: NDArray[np.float32],
    model: HUD,
    progress: Progress,
) -> dict[str, Any]:
    from hud_fast.metrics import evaluate
    from hud_fast.metrics.progress import Stages

    stages = Stages(progress, {"evaluate": 2, "realism": 1})
    generated, shown = to_measure(model.device, cubes, maps)
    real, valid = scene.on(model.device)
    block, notes_of_block = _block(scene, (cubes.shape[1], cubes.shape[2]))
    numbers = evaluate(
        generated,
        real,
        block=block,
        mask=valid,
        endmembers=model.endmembers,
        progress=stages["evaluate"],
    )
    numbers["notes"] += notes_of_block
    known, endmembers = model.abundances, model.endmembers
    numbers["realism"], notes = judged(
        shown, known, endmembers, seed=model.seed, progress=stages["realism"]
    )
    numbers["notes"] += notes
    return {**numbers, "simplex": simplex(maps), "unmixing": model.unmixing}


def _block(scene: Scene, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[str]]:
    """None to compare whole cubes; where gaps leave no window of their size, a smaller square, and a note.

    Of those, the largest that both halves of the scene hold, for the reference.
    """
    import torch

    from hud_fast.diffusion.windows import window_sums
    from hud_fast.metrics.real_blocks import middle

    h, w = size
    if h > scene.H or w > scene.W or bool((window_sums(~scene.valid, h, w) == 0).any()):
        return None, []
    valid = torch.from_numpy(scene.valid)
    sides = range(min(h, w), 1, -1)
    side = next((side for side in sides if middle(valid, (side, side)) is not None), None)
    if side is None:
        return None, []
    return (side, side), [
        f"block diversity: in blocks of {side} x {side} pixels, the scene has no window of {h} x {w} valid ones"
    ]


def simplex(
    abundances: NDArray[np.float32],  # (..., D)
) -> dict[str, float]:
    """Return how far abundances are from the simplex: >= 0, and summing to one to 1e-6.

    Examples
    --------
    >>> simplex(np.array([[0.25, 0.75], [0.5, 0.75]]))["share"]
    0.5
    """
    error = np.abs(abundances.sum(axis=-1, dtype=np.float64) - 1)
    good = (error <= 1e-6) & (abundances >= 0).all(axis=-1)
    return {
        "share": float(good.mean()),
        "smallest": float(abundances.min()),
        "largest_sum_error": float(error.max()),
    }
