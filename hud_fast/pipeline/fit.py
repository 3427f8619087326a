"""``hud-fast fit``: a model of a scene; of several, one training, a model folder of each, and what they share."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hud_fast._files import atomic_dir, sweep
from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import in_parts, of_job
from hud_fast.pipeline.model import choices, find_endmembers, speed, train
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.places import check_free, check_writable
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import checkpoint_folder

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

COMMON = "abundance-model"


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
    options = model_options or ModelOptions()
    reporter = reporter or Reporter()
    scene_options = scene_options or SceneOptions()
    options.check()
    path = Path(out)
    _check_room(path, overwrite)
    with reporter.stage("Reading the scene"):
        scene = scene_options.load(source)
    options = in_parts(options, scene.shape, reporter)
    with _checkpoints(path, overwrite) as checkpoints:
        of_job(scene.shape, options.resolve()).check("fit", reporter)
        endmembers = find_endmembers(scene, options, reporter)
        model = train(scene, endmembers, options, checkpoints, reporter)
        by_first(model.save)(path)
    return model


def fit_models(
    sources: Sequence[str],
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, HUD]:
    """Train one diffusion model of several scenes, and save a model of each in its own folder in `out`.

    The folders bear the scenes' names; beside them ``abundance-model`` holds what is of no sensor. All of them appear
    at once. Checkpoints lie in ``out.checkpoints`` until then; the same call goes on from them.

    Returns
    -------
    models : dict
        By name of folder, in the order of `sources`.

    Raises
    ------
    InputError
        A scene cannot be read; an option that is of one scene; numbers of endmembers that differ; `out` is taken or
        cannot be written.
    """
    from hud_fast.diffusion import fit_scenes

    scene_options = scene_options or SceneOptions()
    options = model_options or ModelOptions()
    reporter = reporter or Reporter()
    options.check()
    if scene_options.labels is not None:
        raise InputError(f"--labels is of one scene, got {len(sources)} scenes: fit one alone")
    for name in ("shape", "wavelengths", "mask"):
        if getattr(scene_options, name) is not None:
            raise InputError(
                f"--{name} is of one scene, got {len(sources)} scenes: put it into the scene's own file"
            )
    path = Path(out)
    _check_room(path, overwrite, several=True)
    scenes = []
    for source in sources:
        with reporter.stage(f"Reading {source}"):
            scenes.append(scene_options.load(source))
    largest = max((scene.shape for scene in scenes), key=math.prod)
    options = in_parts(options, largest, reporter)
    with _checkpoints(path, overwrite) as checkpoints:
        need = of_job(largest, options.resolve())
        others = sum(scene.cube.nbytes for scene in scenes) - 4 * math.prod(largest)
        replace(need, memory=need.memory + others).check("fit", reporter)
        spectra = [find_endmembers(scene, options, reporter) for scene in scenes]
        if len({len(one) for one in spectra}) > 1:
            found = ", ".join(f"{s.name} {len(A)}" for s, A in zip(scenes, spectra, strict=True))
            raise InputError(
                f"--endmembers must be given: the scenes' own numbers differ ({found}), and one model has one number"
            )
        steps = options.resolve().steps
        stage = f"Training one diffusion model of {len(scenes)} scenes ({steps:,} steps)"
        with reporter.stage(stage) as progress:
            common, models = fit_scenes(
                scenes,
                endmembers=spectra,
                checkpoint_dir=checkpoints,
                progress=progress,
                **choices(options),
            )
        reporter.say(f"  {speed(models[0].history)}")
        named = dict(zip(folder_names(scenes), models, strict=True))

        @by_first
        def save() -> None:
            with atomic_dir(path) as temporary:
                common.save(temporary / COMMON)
                for name, model in named.items():
                    model.save(temporary / name)
                _check_room(path, overwrite, several=True)  # what came during the training

        save()
    return named


def folder_names(scenes: Sequence[Scene]) -> list[str]:
    """A name for each scene's folder: its own, made plain, numbered where it is taken.

    Examples
    --------
    >>> from hud_fast.scenes import Scene
    >>> import numpy as np
    >>> folder_names([Scene(np.ones((2, 2, 2)), name=n) for n in ("field", "my field/2", "field")])
    ['field', 'my-field-2', 'field-2']
    """
    names: list[str] = []
    for scene in scenes:
        plain = re.sub(r"[^\w.-]+", "-", scene.name).strip("-.") or "scene"
        name, number = plain, 1
        while name in (COMMON, *names):
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


@contextlib.contextmanager
def _checkpoints(path: Path, overwrite: bool) -> Iterator[Path]:
    """The folder of the training's checkpoints beside `path`, the first process's for the block."""
    folder = path.with_name(path.name + ".checkpoints")

    @by_first
    def claim() -> None:
        stack.enter_context(checkpoint_folder(folder, afresh=overwrite and path.exists()))
        sweep(path)

    with contextlib.ExitStack() as stack:
        claim()
        yield folder


@by_first
def _check_room(path: Path, overwrite: bool, *, several: bool = False) -> None:
    """Refuse a folder that is taken, or that holds anything but what an earlier call wrote."""
    from hud_fast.diffusion.abundance_model import ABUNDANCE_MODEL
    from hud_fast.diffusion.storage import MODEL

    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        check_free(path, overwrite)
        if not path.is_dir():
            raise InputError(f"{path} is a file: --out must be a folder")
        kinds = {path / COMMON: ABUNDANCE_MODEL}
        for folder in sorted(path.iterdir()) if several else [path]:
            kind = kinds.get(folder, MODEL)
            foreign = kind.foreign(folder) if kind.holds(folder) else ""
            if foreign is not None:
                raise InputError(
                    f"{path} holds other files ({folder.name}{foreign}): choose another --out"
                )
    check_writable(path.parent)
