"""``hud-fast fit`` with several scenes: one training, a model folder of each, and what they have in common."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hud_fast._files import atomic_dir
from hud_fast.diffusion import processes
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.model import choices, find_endmembers, speed
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import check_writable, checkpoint_folder

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

COMMON = "abundance-model"


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
    processes.on_first(options.check)
    for name in ("shape", "wavelengths", "mask"):
        if getattr(scene_options, name) is not None:
            raise InputError(
                f"--{name} is of one scene, got {len(sources)} scenes: put it into the scene's own file"
            )
    path = Path(out)
    checkpoints = path.with_name(path.name + ".checkpoints")

    def read() -> list[Scene]:
        _check_free(path, overwrite)
        check_writable(path.parent)
        scenes = []
        for source in sources:
            with reporter.stage(f"Reading {source}"):
                scenes.append(scene_options.load(source))
        return scenes

    scenes = processes.on_first(read)
    with contextlib.ExitStack() as stack:
        own = checkpoint_folder(checkpoints, afresh=overwrite and path.exists())
        processes.on_first(lambda: stack.enter_context(own))
        spectra = processes.on_first(
            lambda: [find_endmembers(scene, options, reporter) for scene in scenes]
        )
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

        def save() -> None:
            with atomic_dir(path) as temporary:
                common.save(temporary / COMMON)
                for name, model in named.items():
                    model.save(temporary / name)

        processes.on_first(save)
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


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace anything but what an earlier call wrote."""
    from hud_fast.diffusion.abundance_model import ABUNDANCE_MODEL
    from hud_fast.diffusion.storage import MODEL

    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{path} exists: choose another --out, or give --overwrite to replace it")
    if not path.is_dir():
        raise InputError(f"{path} is a file: --out must be a folder")
    for entry in sorted(path.iterdir()):
        if not (ABUNDANCE_MODEL.holds(entry) or MODEL.holds(entry)):
            raise InputError(f"{path} holds other files ({entry.name}): choose another --out")
