"""The downstream test in a folder: draws by rows by classifiers, resumed where an earlier call stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write, sweep
from hud_fast.augmentation.experiment import Experiment
from hud_fast.augmentation.options import AugmentationOptions
from hud_fast.augmentation.page import WORDS, write_page
from hud_fast.augmentation.rows import GENERATED
from hud_fast.augmentation.summary import agreement_of, notes_of, summary_of
from hud_fast.augmentation.svm import scikit_learn
from hud_fast.augmentation.tables import write_tables
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.options import SceneOptions
from hud_fast.pipeline.places import check_writable, lock
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import fingerprint, read_json, write_json
from hud_fast.report import ComparisonTable, augmentation_tables
from hud_fast.report.augmentation_tables import UNDECIDED, agreement_line, leak_line, verdicts
from hud_fast.report.machine import commit, machine, versions
from hud_fast.scenes import Scene

RESULT, DRAWS, EXAMPLES = "augment.json", "draws", "examples.npz"
TABLES = ("tables.md", "tables.csv")
FORMAT = "hud_fast augmentation"
Result = dict[str, Any]


@dataclass(frozen=True, eq=False)
class AugmentationResult:
    """What came of `augment_scene`.

    Attributes
    ----------
    folder : Path
    result : dict
        What ``augment.json`` holds.
    """

    folder: Path
    result: Result

    def headline(self) -> list[str]:
        """By how much HUD's labelled cubes are ahead, in whole sentences, and what that rests on."""
        said = verdicts(self.result, WORDS)
        if any("undecided" in line for line in said):
            said.append(UNDECIDED)
        said += [agreement_line(self.result), leak_line(self.result)]
        return [line for line in said if line]

    def tables(self) -> list[ComparisonTable]:
        """What the page shows in numbers."""
        return augmentation_tables(self.result, WORDS)


def augment_scene(
    source: str | os.PathLike[str] | Scene,
    out: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | NDArray[np.integer] | None = None,  # (H, W)
    label_names: Sequence[str] | None = None,
    options: AugmentationOptions | None = None,
    scene_options: SceneOptions | None = None,
    overwrite: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
) -> AugmentationResult:
    """Measure what labelled cubes are worth to classifiers that have a few real labels.

    For each draw whole fields of the scene train or test, endmembers and generator learn the train side alone, and
    every classifier learns a few real labels with what each row adds to them. Writes ``augment.json``, ``tables.md``,
    ``tables.csv``, ``report.html``, ``figures/``, ``examples.npz`` and a file a draw into ``draws/``: what is there of
    the same settings is kept, so an interrupted test goes on.

    Parameters
    ----------
    source : str, path or Scene
        A scene, its file or a name of the catalogue.
    out : path
        Folder of the results.
    labels : path or (H, W) array of int, optional
        Ground truth, 0 = unlabelled, or its file; default the scene's own.
    label_names : sequence of str, optional
        Names of the classes 1, 2, ...; default the scene's own.
    options : AugmentationOptions
    scene_options : SceneOptions
        How to read the scene's file.
    overwrite : bool
        Make anew what the folder holds.
    command : str, optional
        Kept in ``augment.json`` as what to give again.
    reporter : Reporter, optional
        Told of each draw.

    Raises
    ------
    InputError
        What cannot be read; no labels, or fewer than two classes that can train and test; an option out of range; an
        `out` that holds something else, or a test of other settings; scikit-learn is needed and not there.
    Leak
        A test pixel would have trained: an error in this package.
    NotDrawn
        All results are there, but for some pictures; the next call draws them.
    """
    options, reporter = options or AugmentationOptions(), reporter or Reporter()
    options.check()
    if "svm" in options.classifiers or "hud-classifier" in options.rows:
        with user_input():
            scikit_learn("augment_scene")
    path = Path(out)
    check_writable(path)
    with lock(path):
        with reporter.stage("Reading the scene"):
            scene, known, names = _read(source, labels, label_names, scene_options)
        settings = {
            **options.to_dict(),
            "fingerprint": fingerprint(scene.cube) + fingerprint(scene.valid),
            "labels": fingerprint(known.astype(np.int64)),
        }
        result = _claim(path, settings, overwrite)
        with reporter.stage("Splitting fields"):
            experiment = Experiment.of(scene, known, names, options)
        result |= {
            "status": "running",
            "command": command,
            "scene": {
                "name": scene.name,
                "shape": list(scene.shape),
                "valid": int(scene.valid.sum()),
                "labelled": int((experiment.labels > 0).sum()),
            },
            "classes": experiment.classes,
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
        }
        for draw in range(options.draws):
            _make(path, experiment, draw, reporter)
            _gather(path, result, draw + 1)
            write_json(path / RESULT, result)
        result["status"] = "finished"
        write_json(path / RESULT, result)
        result = read_json(path / RESULT)
        write_tables(path, result)
        with reporter.stage("Drawing the page"):
            write_page(path, scene, result)
    return AugmentationResult(path, result)


def _read(
    source: str | os.PathLike[str] | Scene,
    labels: str | os.PathLike[str] | NDArray[np.integer] | None,
    names: Sequence[str] | None,
    scene_options: SceneOptions | None,
) -> tuple[Scene, NDArray[np.integer], Sequence[str] | None]:
    """The scene without bad bands, its labels and their names."""
    if isinstance(source, Scene):
        with user_input():
            scene = source if labels is None else source.replace(labels=_array(labels))
            scene = scene.drop_bad_bands()
    else:
        scene = _opened(os.fspath(source), labels, scene_options or SceneOptions())
    if scene.labels is None:
        raise InputError(f"augment: {scene.name} has no labels of its own: give --labels")
    return scene, scene.labels, scene.label_names if names is None else names


def _make(path: Path, experiment: Experiment, draw: int, reporter: Reporter) -> None:
    """One draw, where no earlier call made it."""
    file = path / DRAWS / f"draw-{draw:03d}.json"
    if file.exists():
        reporter.say(f"  draw {draw + 1}: made already")
        return
    title = f"{experiment.scene.name}: draw {draw + 1} of {experiment.options.draws}"
    with reporter.stage(title) as progress:
        record, examples = experiment.run(draw, progress)
    if draw == 0:
        with atomic_write(path / EXAMPLES) as stream:
            np.savez_compressed(stream, **examples)  # type: ignore[arg-type]
    file.parent.mkdir(exist_ok=True)
    write_json(file, record)


def _gather(path: Path, result: Result, made: int) -> None:
    """All draws so far, read from their files, and what they tell together."""
    files = (path / DRAWS / f"draw-{draw:03d}.json" for draw in range(made))
    draws = result["draws"] = [read_json(file) for file in files]
    settings = result["settings"]
    per_class = settings["per_class"]
    result["summary"] = summary_of(draws, per_class, settings["classifiers"], settings["rows"])
    generates = any(row in GENERATED for row in settings["rows"])
    result["agreement"] = agreement_of(draws, per_class) if generates else {}
    result["notes"] = notes_of(result)
    seconds: dict[str, float] = {}
    for draw in draws:
        for name, value in draw["seconds"].items():
            seconds[name] = seconds.get(name, 0.0) + value
    result["seconds"] = seconds


def _claim(path: Path, settings: Mapping[str, Any], overwrite: bool) -> Result:
    """A new result for the folder; what lies there must be of the same settings, or is removed with `overwrite`."""
    file = path / RESULT
    for name in (RESULT, EXAMPLES, *TABLES):
        sweep(path / name)
    if file.exists():
        found = read_json(file)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise InputError(f"{file} is not of hud-fast augment: choose another --out")
        if overwrite:
            # the draws first: a call that is killed here leaves a folder that is still known as ours
            shutil.rmtree(path / DRAWS, ignore_errors=True)
            for name in (EXAMPLES, *TABLES):
                (path / name).unlink(missing_ok=True)
        else:
            _compare(path, found["settings"], settings)
    else:
        foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if foreign:
            raise InputError(
                f"{path} is not empty and holds no test of hud-fast augment (for example {foreign[0]}): choose another "
                "--out"
            )
    result: Result = {
        "format": FORMAT,
        "status": "running",
        "settings": dict(settings),
        "draws": [],
    }
    write_json(file, result)  # so that an interrupted one is known as ours
    return result


def _compare(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            raise InputError(
                f"{path} was made with {name} = {old.get(name)}, not {new.get(name)}: give the same settings to go on, "
                "another --out, or --overwrite to make it anew"
            )


def _array(labels: Any) -> Any:
    """Labels as an array, from a file where they are none."""
    if not isinstance(labels, (str, os.PathLike)):
        return labels
    from hud_fast.scenes import side_files

    return side_files.matrix("labels", labels)


def _opened(source: str, labels: Any, options: SceneOptions) -> Scene:
    """As `SceneOptions.load`, with labels."""
    from dataclasses import asdict

    from hud_fast.scenes import open_scene
    from hud_fast.scenes.library import without_bad_bands

    arguments = asdict(options)
    scale = arguments.pop("scale")
    own = arguments.pop("labels", None)
    arguments["labels"] = labels if labels is not None else None if own == "scene" else own
    with user_input():
        return without_bad_bands(open_scene(source, **arguments).load(scale))
