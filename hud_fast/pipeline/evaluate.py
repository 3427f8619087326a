"""``hud-fast evaluate``: train on one half of a scene, generate, and measure with the other half as the ceiling."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.device import to_measure
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.figures import NotDrawn, drawing, shown_settings
from hud_fast.pipeline.memory import EVALUATION, in_parts, of_job
from hud_fast.pipeline.options import ModelOptions, SampleOptions, SceneOptions
from hud_fast.pipeline.progress import Progress, Reporter
from hud_fast.pipeline.realism import judged_by_half
from hud_fast.pipeline.run import describe
from hud_fast.pipeline.rundir import RunFolder, fingerprint, read_json, write_json
from hud_fast.pipeline.stages import (
    claimed,
    exists,
    generated_cubes,
    job_settings,
    trained_model,
)
from hud_fast.report.machine import commit, machine, peak_memory, versions

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

RESULT = "evaluation.json"


@dataclass(frozen=True, eq=False)
class Halves:
    """The two halves of a scene, and where it was cut."""

    training: Scene  # upper or left
    held_out: Scene
    axis: int  # 0: cut between rows, 1: between columns
    cut: int  # first row or column of `held_out`

    def to_dict(self) -> dict[str, Any]:
        """In words and numbers, JSON-able."""
        return {
            "cut_between": ("rows", "columns")[self.axis],
            "cut": self.cut,
            "training": [*self.training.shape],
            "held_out": [*self.held_out.shape],
        }


def evaluate_scene(
    source: str,
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    sample_options: SampleOptions | None = None,
    bootstrap: int = 1000,
    overwrite: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train on one half of a scene, measure against both, and return what ``evaluation.json`` holds.

    Writes ``model/``, ``generated/``, ``evaluation.json``, ``figures/`` and ``run.json``. Everything that the
    generator knows (endmembers, statistics of the latents, windows) comes from the training half. What an earlier,
    interrupted call with the same arguments finished is kept, and the training goes on from its last checkpoint.

    Parameters
    ----------
    source : str
        A scene file or a catalogue name.
    out : path
        Folder of the results.
    scene_options, model_options, sample_options
        The choices; by default those of the command line. The format of the cubes is .npy always.
    bootstrap : int
        Resamples behind the intervals, 0 for none.
    overwrite : bool
        Replace a finished evaluation, or start an unfinished one afresh.
    command : str, optional
        Kept in ``evaluation.json`` as what to give again.
    reporter : Reporter, optional
        Told of each stage.

    Raises
    ------
    InputError
        The scene cannot be read or is too small, `out` cannot be used, an option is out of range.
    NotDrawn
        All results are there, but for a figure; the next call draws it.
    ValueError, RuntimeError, OSError
        As the stages raise them.
    """
    model_options = model_options or ModelOptions()
    sample_options = sample_options or SampleOptions()
    reporter = reporter or Reporter()
    model_options.check()
    preset = model_options.resolve()
    sample_options.check(preset, least=2)
    if bootstrap < 0:
        raise InputError(f"--bootstrap must be at least 0, got {bootstrap}")
    with reporter.stage("Reading the scene"):
        scene = (scene_options or SceneOptions()).load(source)
    reporter.say(f"  {describe(scene)}")
    _check_start(scene, model_options)
    size = sample_options.window(preset)
    halves = split(scene, (preset.crop, preset.crop), size)
    rows = f"{halves.training.H} x {halves.training.W}"
    rest = f"{halves.held_out.H} x {halves.held_out.W}"
    reporter.say(f"  {rows} pixels train, {rest} are held out")
    model_options = in_parts(model_options, scene.shape, reporter)
    preset = model_options.resolve()
    settings = job_settings(
        scene,
        model_options,
        sample_options,
        format="npy",
        job="evaluate",
        bootstrap=bootstrap,
        **{"valid pixels fingerprint": fingerprint(scene.valid)},
    )
    made = (sample_options.samples, *size)
    need = of_job(scene.shape, preset, made, EVALUATION)
    with claimed("evaluation", out, settings, overwrite, need, reporter) as folder:
        path = folder.path / RESULT
        if not exists(path):
            model = trained_model(halves.training, folder, model_options, reporter)
            _keep_memory(folder)
            cubes, maps = generated_cubes(
                halves.training, model, folder, model_options, sample_options, "npy", reporter
            )
            _keep_memory(folder)

            @by_first
            def measure() -> None:
                name = "Measuring against both halves"
                options = {"bootstrap": bootstrap, "seed": model.seed}
                with folder.stage("measuring"), reporter.stage(name) as progress:
                    numbers = against_halves(
                        halves, model, cubes, maps, progress=progress, **options
                    )
                _keep_memory(folder)
                write_json(path, _result(scene, halves, model, numbers, folder, command))

            measure()
        return _finished(path, folder, reporter)


@by_first
def _finished(path: Path, folder: RunFolder, reporter: Reporter) -> dict[str, Any]:
    evaluation: dict[str, Any] = read_json(path)
    with folder.stage("drawing"), reporter.stage("Drawing the figures"):
        undrawn = _draw(folder.path / "figures", evaluation)
    folder.finish(versions=versions(), machine=machine(), undrawn=undrawn)
    if undrawn:
        raise NotDrawn(folder.path, undrawn)
    return evaluation


def split(scene: Scene, *windows: tuple[int, int]) -> Halves:
    """Cut a scene in the middle of its longer side, or of the other where only that leaves room.

    Parameters
    ----------
    scene : Scene
    *windows : (int, int)
        What both halves must hold some of: windows of so many valid pixels.

    Raises
    ------
    InputError
        Neither cut leaves room.

    Examples
    --------
    >>> from hud_fast.scenes import Scene
    >>> halves = split(Scene(np.ones((20, 12, 3))), (8, 8))
    >>> halves.axis, halves.cut, halves.held_out.shape
    (0, 10, (10, 12, 3))
    """
    import torch

    from hud_fast.metrics.real_blocks import FEWEST, middle

    h, w = (max(sides) for sides in zip(*windows, strict=True))
    found = middle(torch.from_numpy(scene.valid), (h, w), least=FEWEST)
    if found is None:
        raise InputError(
            f"each half of {scene.name} must hold at least {FEWEST} windows of {h} x {w} valid pixels "
            f"(to train on, and as large as the cubes), got a scene of {scene.H} x {scene.W} that is "
            "too small or too masked: take a smaller --size, another preset or a larger scene"
        )
    axis, cut = found
    parts = [slice(0, cut), slice(cut, None)]
    whole = slice(None)
    training, held_out = (
        scene.crop(part, whole) if axis == 0 else scene.crop(whole, part) for part in parts
    )
    return Halves(training, held_out, axis, cut)


@by_first
def _check_start(scene: Scene, options: ModelOptions) -> None:
    """Refuse to start from what has seen the half that is to be held out."""
    start = options.load_start()
    if start is not None and scene.name in start.scenes:
        raise InputError(
            f"--start-from must be a model that never saw {scene.name}, half of which is held out, got "
            f"{options.start} of {', '.join(start.scenes)}"
        )


def against_halves(
    halves: Halves,
    model: HUD,
    cubes: NDArray[np.float32],  # (B, h, w, C)
    maps: NDArray[np.float32],  # (B, h, w, D)
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What `model` generated after it learned the training half, against both.

    ``quality`` is what `metrics.quality` finds; ``realism`` what `judged_by_half` does, or None with a line in
    ``notes``.
    """
    from hud_fast.metrics import quality
    from hud_fast.metrics.progress import Stages

    stages = Stages(progress, {"quality": 3, "realism": 2})
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    generated, shown = to_measure(model.device, cubes, maps)
    training, learned = halves.training.on(model.device)
    held_out, kept = halves.held_out.on(model.device)
    found = quality(
        generated,
        shown,
        training,
        held_out,
        model.endmembers,
        training_mask=learned,
        held_out_mask=kept,
        progress=stages["quality"],
        **options,
    )
    realism, notes = judged_by_half(
        shown, model, halves.held_out, progress=stages["realism"], **options
    )
    return {"quality": found.to_dict(), "realism": realism, "notes": notes}


def _result(
    scene: Scene,
    halves: Halves,
    model: HUD,
    numbers: dict[str, Any],
    folder: RunFolder,
    command: str | None,
) -> dict[str, Any]:
    """The numbers, and all that it takes to trace or repeat them."""
    return {
        "scene": scene.name,
        "simulated": scene.simulated,
        "split": halves.to_dict(),
        **numbers,
        "command": command,
        "settings": folder.record["settings"],
        "settings_in_effect": shown_settings(folder.record["settings"], model),
        "preset": model.preset.to_dict(),
        "training_steps": model.preset.steps,
        "model": model.summary(),
        "seconds": dict(folder.timings),
        "hours": sum(folder.timings.values()) / 3600,
        "starts": folder.record["starts"],
        "peak_memory_bytes": folder.record["memory"],
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }


def _keep_memory(folder: RunFolder) -> None:
    """Note the largest memory over all starts: a resumed process does not remember the earlier ones."""
    known = folder.record.setdefault("memory", {})
    for name, peak in peak_memory().items():
        known[name] = max(peak, known.get(name, 0))


def _draw(folder: Path, evaluation: dict[str, Any]) -> dict[str, str]:
    from hud_fast.report import abundance_histograms, power_spectra, save_figure

    folder.mkdir(exist_ok=True)
    undrawn: dict[str, str] = {}
    for draw in (power_spectra, abundance_histograms):
        with drawing(draw.__name__, undrawn):
            save_figure(draw(evaluation), folder / f"{draw.__name__}.png")
    return undrawn
