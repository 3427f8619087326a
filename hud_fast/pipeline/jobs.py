"""The smaller jobs: generate from a model, measure a set of cubes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hud_fast._files import sweep
from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.cubes import (
    ABUNDANCES,
    Write,
    choose_format,
    names_of,
    read_cubes,
    writing_cubes,
)
from hud_fast.pipeline.device import chosen_device, to_measure
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.memory import few_at_once, of_measuring, of_samples
from hud_fast.pipeline.model import (
    load_model,
    scene_of,
)
from hud_fast.pipeline.options import SampleOptions, SceneOptions
from hud_fast.pipeline.places import check_free, check_json, lock_beside
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.realism import judged
from hud_fast.pipeline.rundir import write_json
from hud_fast.pipeline.stack_files import STACKS, writing_stack
from hud_fast.pipeline.targets import (
    SINGLE,
    check_maps,
    check_single,
    check_target,
    refuse_other,
    remove_maps,
    writing_npy,
    writing_single,
)
from hud_fast.pipeline.zarr_cubes import writing_zarr

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene


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
    """Generate cubes from a saved model (or a run's) into a set of cubes, or a file of the kind that its name says.

    A folder, a name without a suffix, gets a set. A .npy file holds the cubes alone; .npz, .mat and .zarr also their
    abundances, the endmembers and the wavelengths; .hdr (ENVI) and .tif one cube. Of a model with classes there are
    class maps, too: in the set, in the file, or beside a .npy, .hdr or .tif file. They are written as they come: only
    one batch is in memory. Returns (B, h, w, C). What `overwrite` replaces is what an earlier call wrote, and nothing
    else.

    Raises
    ------
    InputError
        No model in `folder`, `out` is taken or cannot be written, or classes are asked for that the model has not.
    """
    reporter = reporter or Reporter()
    source, target = Path(folder), Path(out)

    @by_first
    def check() -> None:
        check_target(target, options)
        check_free(target, overwrite)
        refuse_other(target)

    check()
    with user_input():
        model = load_model(source, device)
    scene, wanted = scene_of(model), options.wanted(model.classes)
    by_first(check_single)(target, scene)
    if wanted is not None:
        by_first(check_maps)(target, overwrite)
    size = options.window(model.preset)
    shape = (options.samples, *size, model.C)
    at_once = few_at_once(model, options.samples, size)
    write: Write | None = None
    with contextlib.ExitStack() as stack:

        @by_first
        def open_target() -> None:
            nonlocal write
            stack.enter_context(lock_beside(target))
            sweep(target)
            need = of_samples(size, model.C + model.D, options.samples, model.preset, at_once)
            need.check("sample", reporter)
            if wanted is None:
                remove_maps(target)  # of what is replaced
            write = stack.enter_context(_writing(target, model, scene, shape, options.format))

        open_target()
        name = f"Generating {options.samples} cubes"
        progress = stack.enter_context(reporter.stage(name))
        # closed at once where writing fails: other processes wait for the next batch
        batches = model.sample_batches(
            options.samples,
            seed=seed,
            batch_size=at_once,
            progress=progress,
            **options.arguments(wanted),
        )
        for made in stack.enter_context(contextlib.closing(batches)):
            assert write is not None  # only the first process gets batches
            write(*made)
    return shape


@contextlib.contextmanager
def _writing(
    target: Path, model: HUD, scene: Scene, shape: tuple[int, int, int, int], kind: str
) -> Iterator[Write]:
    """A function that writes the next cubes and abundances into what `target` names."""
    suffix = target.suffix.lower()
    if suffix == ".npy":
        with writing_npy(target, model, shape) as write:
            yield write
    elif suffix == ".zarr":
        with writing_zarr(target, model, shape) as write:
            yield write
    elif suffix in STACKS:
        with writing_stack(target, model, shape) as write:
            yield write
    elif suffix in SINGLE:
        with writing_single(target, model, scene) as write:
            yield write
    else:
        kind = choose_format(kind, scene)
        with writing_cubes(
            target,
            scene,
            shape,
            kind=kind,
            endmembers=model.D,
            classes=names_of(model.classes),
        ) as write:
            yield write


def measure(
    generated: str | os.PathLike[str],
    real: str,
    *,
    scene_options: SceneOptions | None = None,
    block: int | None = None,
    stride: int = 1,
    norm: Literal["pixel", "block"] = "pixel",
    seed: int = 0,
    device: str | None = None,
    json_file: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare a set of cubes with a real scene, and write all numbers to `json_file`.

    Raises
    ------
    InputError
        Files that cannot be read, or bands that do not fit.
    """
    from hud_fast.diffusion.preparation import abundances_of
    from hud_fast.metrics import evaluate
    from hud_fast.metrics.progress import Stages

    reporter = reporter or Reporter()
    where = chosen_device("metrics", device, reporter)
    with reporter.stage("Reading the cubes"):
        cubes = read_cubes(generated)
        scene = (scene_options or SceneOptions()).load(real)
    if json_file is not None:
        check_json(Path(json_file), "point_fidelity", "copy_check")
    C = scene.cube.shape[-1]
    if cubes.shape[-1] != C:
        raise InputError(
            f"{generated} must have the {C} good bands of {scene.name}, got {cubes.shape[-1]}"
        )
    of_measuring(scene.shape, cubes.shape[:3]).check("metrics", reporter)
    with reporter.stage("Comparing with the real scene") as progress:
        stages = Stages(progress, {"evaluate": 2, "realism": 1})
        endmembers = _endmembers_beside(Path(generated))
        (made,), (known, valid) = to_measure(where, cubes), scene.on(where)
        numbers: dict[str, Any] = evaluate(
            made,
            known,
            mask=valid,
            endmembers=endmembers,
            block=block,
            stride=stride,
            norm=norm,
            seed=seed,
            progress=stages["evaluate"],
        )
        numbers["realism"] = None
        notes = ["realism: needs the model's endmembers, give the folder of a whole run"]
        if endmembers is not None:
            (maps,) = to_measure(where, _maps_beside(Path(generated), cubes, scene, endmembers))
            numbers["realism"], notes = judged(
                maps,
                abundances_of(scene, endmembers, encoder="fcls", device=where),
                endmembers,
                seed=seed,
                progress=stages["realism"],
            )
        numbers["notes"] += notes
    if json_file is not None:
        write_json(Path(json_file), numbers)
    return numbers


def _endmembers_beside(generated: Path) -> Any:  # (D, C) or None
    """Those of the model in a run's folder, where `generated` is one."""
    from hud_fast.diffusion import HUD

    folder = generated / "model"
    return HUD.load(folder, device="cpu").endmembers if folder.is_dir() else None


def _maps_beside(run: Path, cubes: Any, scene: Scene, endmembers: Any) -> Any:  # (B, h, w, D)
    """What the run's cubes were mixed from; where that is gone, as the spectra have it."""
    from hud_fast.kernels import fcls

    path = run / "generated" / ABUNDANCES
    if path.is_file():
        with user_input():
            maps = np.load(path, allow_pickle=False)
        if maps.shape == (*cubes.shape[:3], len(endmembers)):
            return maps
    return fcls(cubes / np.float32(scene.scale), np.asarray(endmembers, dtype=cubes.dtype))
