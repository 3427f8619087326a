"""The main job: from a scene file to a model, generated cubes, numbers and a report."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.pipeline.cubes import ABUNDANCES, ARRAY, choose_format, write_cubes
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.figures import run_figures, shown_settings
from hud_fast.pipeline.model import find_endmembers, generate, train
from hud_fast.pipeline.options import ModelOptions, SampleOptions, SceneOptions
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import RunFolder, claim, fingerprint, lock, read_json, write_json
from hud_fast.report.machine import machine, peak_memory, size_text, versions

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
    ValueError, RuntimeError, OSError
        As the stages raise them.
    """
    scene_options = scene_options or SceneOptions()
    model_options = model_options or ModelOptions()
    sample_options = sample_options or SampleOptions()
    reporter = reporter or Reporter()
    model_options.check()
    if sample_options.samples < 1:
        raise InputError(f"--samples must be at least 1, got {sample_options.samples}")

    with reporter.stage("Reading the scene"):
        scene = scene_options.load(source)
    reporter.say(f"  {describe(scene)}")
    kind = choose_format(sample_options.format, scene)
    settings = {
        "scene": scene.name,
        "scene fingerprint": fingerprint(scene.cube),
        **asdict(model_options),
        **asdict(sample_options),
        "format": kind,
    }
    with lock(out):
        folder = claim(out, settings, overwrite)
        _check_space(folder.path, scene, sample_options)
        if folder.resumed:
            reporter.say("  going on with the unfinished run in this folder")
        model = _model(scene, folder, model_options, reporter)
        cubes, maps = _cubes(scene, model, folder, model_options, sample_options, kind, reporter)
        metrics = _metrics(scene, cubes, maps, model, folder, reporter)
        return _report(scene, model, cubes, maps, metrics, folder, reporter)


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


def _model(scene: Scene, folder: RunFolder, options: ModelOptions, reporter: Reporter) -> HUD:
    from hud_fast.diffusion import HUD

    path = folder.path / "model"
    if path.exists():
        reporter.say("  the model is trained already")
        return HUD.load(path, device=options.device)
    with folder.stage("unmixing"):
        endmembers = find_endmembers(scene, options, reporter)
    with folder.stage("training"):
        model = train(scene, endmembers, options, folder.path / "checkpoints", reporter)
        model.save(path)
    return model


def _cubes(
    scene: Scene,
    model: HUD,
    folder: RunFolder,
    model_options: ModelOptions,
    options: SampleOptions,
    kind: str,
    reporter: Reporter,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    path = folder.path / "generated"
    if path.exists():
        reporter.say("  the cubes are generated already")
        cubes = np.load(path / ARRAY) / np.float32(scene.scale)
        return cubes, np.load(path / ABUNDANCES)
    with folder.stage("generating"):
        cubes, maps = generate(model, options, model_options.seed, reporter)
    with folder.stage("writing the cubes"), reporter.stage("Writing the cubes") as progress:
        write_cubes(path, cubes, scene, kind=kind, abundances=maps, progress=progress)
    return cubes, maps


def _metrics(
    scene: Scene,
    cubes: NDArray[np.float32],
    maps: NDArray[np.float32],
    model: HUD,
    folder: RunFolder,
    reporter: Reporter,
) -> dict[str, Any]:
    from hud_fast.metrics import evaluate

    path = folder.path / "metrics.json"
    if not path.exists():
        name = "Comparing with the real scene"
        with folder.stage("measuring"), reporter.stage(name) as progress:
            numbers = evaluate(cubes, scene.cube, mask=scene.valid, progress=progress)
            write_json(path, {**numbers, "simplex": simplex(maps), "unmixing": model.unmixing})
    metrics: dict[str, Any] = read_json(path)
    return metrics


def _report(
    scene: Scene,
    model: HUD,
    cubes: NDArray[np.float32],
    maps: NDArray[np.float32],
    metrics: dict[str, Any],
    folder: RunFolder,
    reporter: Reporter,
) -> RunResult:
    from hud_fast.report import write_report

    with folder.stage("drawing"), reporter.stage("Drawing the report"):
        figures = run_figures(scene, model, cubes, maps)
        memory = peak_memory()
        page = write_report(
            folder.path,
            scene=scene,
            generated=cubes,
            metrics=metrics,
            settings=shown_settings(folder.record["settings"], model),
            timings=folder.timings,
            figures=figures,
            memory=memory,
        )
    folder.finish(memory=memory, versions=versions(), machine=machine(), model=model.summary())
    return RunResult(page, metrics, folder.timings, memory)


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


def _check_space(folder: Path, scene: Scene, options: SampleOptions) -> None:
    """Refuse to train for minutes when the cubes will not fit on the disk."""
    h, w = options.size or (32, 32)
    need = 2 * 4 * options.samples * h * w * (scene.cube.shape[-1] + 16) + 200 * 2**20
    free = shutil.disk_usage(folder).free
    if free < need:
        raise InputError(
            f"{folder} has {size_text(free)} free, this run needs about {size_text(need)}: choose "
            "another --out or free some space"
        )
