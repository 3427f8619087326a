"""The smaller jobs: train a model, generate from one, measure a set of cubes."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hud_fast.pipeline.cubes import choose_format, read_cubes, writing_array, writing_cubes
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.model import find_endmembers, generate_batches, scene_of, train
from hud_fast.pipeline.options import ModelOptions, SampleOptions, SceneOptions
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import check_writable, lock, write_json
from hud_fast.pipeline.zarr_cubes import writing_zarr

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD


def fit_model(
    source: str,
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> HUD:
    """Train a model of a scene and save it in the folder `out`.

    Checkpoints lie in ``out.checkpoints`` until the model is saved; the same call goes on from them.

    Raises
    ------
    InputError
        The scene cannot be read, or `out` is taken or cannot be written.
    """
    model_options = model_options or ModelOptions()
    reporter = reporter or Reporter()
    model_options.check()
    path = Path(out)
    checkpoints = path.with_name(path.name + ".checkpoints")
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not overwrite:
        raise InputError(f"{path} exists: choose another --out, or give --overwrite to replace it")
    check_writable(path.parent)
    with reporter.stage("Reading the scene"):
        scene = (scene_options or SceneOptions()).load(source)
    if overwrite and checkpoints.exists() and path.exists():
        shutil.rmtree(checkpoints)
    with lock(checkpoints):
        endmembers = find_endmembers(scene, model_options, reporter)
        model = train(scene, endmembers, model_options, checkpoints, reporter)
        model.save(path)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return model


def sample_model(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: SampleOptions,
    *,
    seed: int = 0,
    device: str | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> tuple[int, int, int, int]:
    """Generate cubes from a saved model (or a run's) into a set of cubes, one .npy file or a .zarr group.

    They are written as they come: only one batch is in memory. Returns (B, h, w, C).

    Raises
    ------
    InputError
        No model in `folder`, or `out` is taken or cannot be written.
    """
    from hud_fast.diffusion import HUD

    reporter = reporter or Reporter()
    source, target = Path(folder), Path(out)
    if target.exists() and not overwrite:
        raise InputError(
            f"{target} exists: choose another --out, or give --overwrite to replace it"
        )
    suffix = target.suffix.lower()
    if suffix in (".npy", ".zarr") and options.format not in ("auto", suffix[1:]):
        raise InputError(f"--format {options.format} needs a folder as --out, got {target}")
    with user_input():
        if (source / "model").is_dir():
            source = source / "model"
        model = HUD.load(source, device=device)
    check_writable(target.parent)
    scene = scene_of(model)
    size = options.size or (model.preset.crop, model.preset.crop)
    shape = (options.samples, *size, model.C)
    with contextlib.ExitStack() as stack:
        write: Callable[[Any, Any], None]
        if suffix == ".npy":
            put = stack.enter_context(writing_array(target, shape))

            def write(cubes: Any, _: Any) -> None:
                put(cubes * np.float32(scene.scale))

        elif suffix == ".zarr":
            write = stack.enter_context(writing_zarr(target, model, shape))
        else:
            kind = choose_format(options.format, scene)
            write = stack.enter_context(
                writing_cubes(target, scene, shape, kind=kind, endmembers=model.D)
            )
        name = f"Generating {options.samples} cubes"
        progress = stack.enter_context(reporter.stage(name))
        for cubes, maps in generate_batches(model, options, seed, progress):
            write(cubes, maps)
    return shape


def measure(
    generated: str | os.PathLike[str],
    real: str,
    *,
    scene_options: SceneOptions | None = None,
    block: int | None = None,
    stride: int = 1,
    norm: Literal["pixel", "block"] = "pixel",
    seed: int = 0,
    json_file: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare a set of cubes with a real scene, and write all numbers to `json_file`.

    Raises
    ------
    InputError
        Files that cannot be read, or bands that do not fit.
    """
    from hud_fast.metrics import evaluate

    reporter = reporter or Reporter()
    with reporter.stage("Reading the cubes"):
        cubes = read_cubes(generated)
        scene = (scene_options or SceneOptions()).load(real)
    if json_file is not None:
        check_writable(Path(json_file).parent)
    C = scene.cube.shape[-1]
    if cubes.shape[-1] != C:
        raise InputError(
            f"{generated} must have the {C} good bands of {scene.name}, got {cubes.shape[-1]}"
        )
    with reporter.stage("Comparing with the real scene") as progress:
        numbers: dict[str, Any] = evaluate(
            cubes,
            scene.cube,
            mask=scene.valid,
            block=block,
            stride=stride,
            norm=norm,
            seed=seed,
            progress=progress,
        )
    if json_file is not None:
        write_json(Path(json_file), numbers)
    return numbers
