"""The stages that `run` and `evaluate` share; each takes from the folder what an earlier start left there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import size_text
from hud_fast.diffusion import processes
from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.cubes import ABUNDANCES, ARRAY, names_of, write_cubes
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import Need
from hud_fast.pipeline.model import find_endmembers, generate, load_model, train
from hud_fast.pipeline.options import ModelOptions, SampleOptions
from hud_fast.pipeline.places import Lock, lock
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import REPLACED, RunFolder, claim, fingerprint, settle, withdraw

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene


exists = by_first(Path.exists)


def job_settings(
    scene: Scene, model_options: ModelOptions, sample_options: SampleOptions, **others: Any
) -> dict[str, Any]:
    """Everything that decides the result: what a resumed job must agree on."""
    valid = {} if scene.valid.all() else {"valid pixels fingerprint": fingerprint(scene.valid)}
    labels = {} if scene.labels is None else {"labels fingerprint": fingerprint(scene.labels)}
    sampling = asdict(sample_options)
    for name in ("classes", "shares"):  # of labelled jobs: what others were begun with has none
        if not sampling[name]:
            del sampling[name]
    return {
        "scene": scene.name,
        "scene fingerprint": fingerprint(scene.cube),
        **valid,
        **labels,
        **asdict(model_options),
        **sampling,
        **others,
    }


def trained_model(
    scene: Scene, folder: RunFolder, options: ModelOptions, reporter: Reporter
) -> HUD:
    """The run's model: from its folder, or trained now, on from the last checkpoint."""
    path = folder.path / "model"
    if exists(path):
        reporter.say("  the model is trained already")
        return load_model(path, options.device)
    with folder.stage("unmixing"):
        endmembers = find_endmembers(scene, options, reporter)
    with folder.stage("training"):
        model = train(scene, endmembers, options, folder.path / "checkpoints", reporter)
        by_first(model.save)(path)
    by_first(settle)(folder.path)  # what was replaced makes room for the cubes
    return model


def generated_cubes(
    scene: Scene,
    model: HUD,
    folder: RunFolder,
    model_options: ModelOptions,
    options: SampleOptions,
    kind: str,
    reporter: Reporter,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # (B, h, w, C), (B, h, w, D)
    """The run's cubes and abundances: from its folder, or generated now. The first process has them all."""
    path = folder.path / "generated"
    if exists(path):
        if not processes.is_first():
            return np.empty(0, np.float32), np.empty(0, np.float32)
        reporter.say("  the cubes are generated already")
        cubes = np.load(path / ARRAY) / np.float32(scene.scale)
        return cubes, np.load(path / ABUNDANCES)
    with folder.stage("generating"):
        cubes, maps, labels = generate(model, options, model_options.seed, reporter)
    if processes.is_first():
        with folder.stage("writing the cubes"), reporter.stage("Writing the cubes") as progress:
            write_cubes(
                path,
                cubes,
                scene,
                kind=kind,
                abundances=maps,
                labels=labels,
                classes=names_of(model.classes),
                progress=progress,
            )
    return cubes, maps


@contextmanager
def claimed(
    what: str,
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    overwrite: bool,
    need: Need,
    reporter: Reporter,
) -> Iterator[RunFolder]:
    """The folder of a job, with room for the cubes, locked for the block. The lock is the first process's.

    A job that fails before it made anything leaves there what `overwrite` was to replace.
    """
    held: Lock | None = None
    with ExitStack() as stack:

        @by_first
        def claim_it() -> RunFolder:
            nonlocal held
            held = stack.enter_context(lock(out))
            stack.callback(withdraw, held, out)
            folder = claim(out, settings, overwrite)
            need.check(what, reporter)
            check_space(folder.path, need)
            return folder

        folder = claim_it()
        folder.held = held
        if folder.resumed:
            reporter.say(f"  going on with the unfinished {what} in this folder")
        yield folder


def check_space(folder: Path, need: Need) -> None:
    """Refuse to train for minutes when the cubes will not fit on the disk."""
    free = shutil.disk_usage(folder).free
    free += sum(p.stat().st_size for p in (folder / REPLACED).rglob("*"))  # gone before cubes come
    if free < need.disk:
        raise InputError(
            f"{folder} has {size_text(free)} free, this run needs about {size_text(need.disk)}: choose "
            "another --out or free some space"
        )
