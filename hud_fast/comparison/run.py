"""Scenes by methods by protocols: train, sample, judge, and write tables, figures and a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hud_fast.baselines import BUDGETS, METHODS, HUDMethod
from hud_fast.baselines.pictures import read_pictures
from hud_fast.comparison.cells import Cell, Order, make_cell
from hud_fast.comparison.controls import control_cubes
from hud_fast.comparison.judge import Cubes, Judge
from hud_fast.comparison.measures import HEADLINE, MEASURES, out_of_order, standing
from hud_fast.comparison.protocols import CROP, PROTOCOLS, SAMPLES, Task
from hud_fast.comparison.tables import notes_of, tables_of, write_tables
from hud_fast.pipeline.device import chosen_device
from hud_fast.pipeline.errors import InputError, one_line, user_input
from hud_fast.pipeline.fit import folder_names
from hud_fast.pipeline.memory import EVALUATION, of_job
from hud_fast.pipeline.options import SceneOptions
from hud_fast.pipeline.places import check_writable, lock
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import read_json, write_json
from hud_fast.report import comparison_densities, comparison_panels, save_figure, write_comparison
from hud_fast.report.machine import commit, machine, versions
from hud_fast.scenes import Scene
from hud_fast.scenes.catalogue import find_entry, is_name

RESULT, SCENES = "comparison.json", "scenes"
FORMAT = "hud_fast comparison"


class Unfinished(RuntimeError):
    """Everything else is written, but some cells failed; the same command tries these again."""


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how long it may take."""

    methods: tuple[str, ...] = tuple(METHODS)
    protocols: tuple[str, ...] = ("sound",)
    budget: str = "demo"
    samples: int | None = None  # None: 64 for sound, 8 for paper
    seed: int = 0
    device: str | None = None
    bootstrap: int = 200
    images: str | None = None  # a folder of RGB pictures, for UBF
    authors_scale: bool = False  # UD and UBF as the authors' code leaves them, in [0, 1]

    def check(self) -> None:
        """Refuse before any work what cannot be compared."""
        for name, given, known in (
            ("--methods", self.methods, METHODS),
            ("--protocol", self.protocols, PROTOCOLS),
            ("--budget", (self.budget,), BUDGETS),
        ):
            for one in given:
                if one not in known:
                    raise InputError(f"{name} must be of {', '.join(known)}, got {one!r}")
        if self.samples is not None and self.samples < 2:
            raise InputError(f"--samples must be at least 2, got {self.samples}")
        if self.bootstrap < 0:
            raise InputError(f"--bootstrap must be at least 0, got {self.bootstrap}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.images is not None:
            if "ubf" not in self.methods:
                raise InputError(
                    f"--images is of the method ubf, which is not compared, got {self.images}"
                )
            with user_input():
                read_pictures("compare", "--images", self.images, CROP)

    def of(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Changes of a method's settings, and further arguments of its `fit`."""
        settings = {"authors_scale": 1} if self.authors_scale and name in ("ud", "ubf") else {}
        return settings, {"images": self.images} if self.images and name == "ubf" else {}


def compare_scenes(
    sources: Sequence[str],
    out: str | os.PathLike[str],
    *,
    options: ComparisonOptions | None = None,
    scene_options: SceneOptions | None = None,
    overwrite: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare methods on scenes, and return what ``comparison.json`` holds.

    Writes ``comparison.json``, ``tables.csv``, ``tables.tex``, ``report.html``, ``figures/`` and, in ``scenes/``,
    every method's model and cubes for each scene and protocol. What an earlier call in the same folder made with the
    same settings is kept: a comparison that was interrupted goes on, a finished one may get more scenes and methods.

    Parameters
    ----------
    sources : sequence of str
        Scene files or names of the catalogue. A name whose file cannot be had is a row "not at hand".
    out : path
        Folder of the results.
    options : ComparisonOptions
    scene_options : SceneOptions
        How to read the scenes' files.
    overwrite : bool
        Make anew what the folder holds of these scenes and methods.
    command : str, optional
        Kept in ``comparison.json`` as what to give again.
    reporter : Reporter, optional
        Told of each stage.

    Raises
    ------
    InputError
        A file that cannot be read, a scene too small, an option out of range, an `out` that is none of a comparison.
    Unfinished
        All is written, but some methods failed.
    """
    options, reporter = options or ComparisonOptions(), reporter or Reporter()
    options.check()
    device = str(chosen_device("compare", options.device, reporter))
    path = Path(out)
    check_writable(path)
    with lock(path):
        result = _known(path)
        scenes = _scenes(sources, scene_options or SceneOptions(), reporter)
        tasks = {
            (name, protocol): None if scene is None else Task.of(scene, protocol, options.seed)
            for name, scene in scenes.items()
            for protocol in options.protocols
        }
        _check_memory(tasks, options, reporter)
        result |= {"command": command, "options": asdict(options)}
        result |= {"machine": machine(), "versions": versions(), "commit": commit()}
        for (name, protocol), task in tasks.items():
            table = result["scenes"].setdefault(name, {})
            if task is None:
                table.setdefault(protocol, {"status": "not at hand"})
                continue
            folder = path / SCENES / name / protocol
            table[protocol] = _table(task, folder, options, device, overwrite, reporter)
            write_json(path / RESULT, result)
        with reporter.stage("Writing tables and page"):
            write_json(path / RESULT, result)
            tables = tables_of(result)
            write_tables(path, tables, result)
            write_comparison(path, tables, notes_of(result), result)
    failed = [
        f"{name}, {protocol}, {method}: {text}"
        for (name, protocol) in tasks
        for method, text in result["scenes"][name][protocol].get("failed", {}).items()
    ]
    if failed:
        raise Unfinished(f"{'; '.join(failed)}. Everything else is in {path}")
    return result


def _known(path: Path) -> dict[str, Any]:
    """What the folder holds already."""
    file = path / RESULT
    if file.exists():
        found = read_json(file)
        if isinstance(found, dict) and found.get("format") == FORMAT:
            return found
        raise InputError(f"{file} is not of hud-fast compare: choose another --out")
    foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    if foreign:
        raise InputError(
            f"{path} is not empty and holds no comparison (for example {foreign[0]}): choose another --out"
        )
    result: dict[str, Any] = {"format": FORMAT, "scenes": {}}
    write_json(file, result)  # so that an interrupted one is known as ours
    return result


def _scenes(
    sources: Sequence[str], options: SceneOptions, reporter: Reporter
) -> dict[str, Scene | None]:
    """Every scene by its folder's name, None where one of the catalogue is not at hand: told before the work begins."""
    found: dict[str, Scene | None] = {}
    for source in sources:
        with reporter.stage(f"Reading {source}"):
            try:
                scene = options.load(source)
            except InputError as error:
                if not (is_name(source) and isinstance(error.__cause__, OSError)):
                    raise
                reporter.say(f"  {source} is not at hand: {one_line(error)}")
                found[find_entry(source).key] = None
                continue
        (name,) = folder_names([scene])  # a name from a file may be anything
        if name in found:
            raise InputError(f"scenes must have different names, got {name} twice")
        found[name] = scene
    return found


def _check_memory(
    tasks: Mapping[tuple[str, str], Task | None], options: ComparisonOptions, reporter: Reporter
) -> None:
    """Tell what the largest scene needs, and refuse where this process may not have it.

    The need is HUD's and the judge's, which the rivals' demonstrations stay below; their paper's sizes may take more.
    """
    known = [task for task in tasks.values() if task is not None]
    if not known:
        return
    largest = max(known, key=lambda task: task.scene.cube.size)
    samples = options.samples or max(SAMPLES[name] for name in options.protocols)
    preset = HUDMethod.budgets[options.budget]
    made = (samples, CROP, CROP)
    of_job(largest.scene.shape, preset, made, EVALUATION).check("compare", reporter)


def _table(
    task: Task,
    folder: Path,
    options: ComparisonOptions,
    device: str,
    overwrite: bool,
    reporter: Reporter,
) -> dict[str, Any]:
    """All rows of one scene under one protocol."""
    samples = options.samples or SAMPLES[task.protocol]
    cells: dict[str, Cell] = {}
    failed: dict[str, str] = {}
    for name, method in METHODS.items():
        order = Order(task, method, options.budget, samples, *options.of(name))
        if name not in options.methods and not order.is_made(folder / name):
            continue
        again = overwrite and name in options.methods
        try:
            cells[name] = make_cell(
                order, folder / name, device=device, overwrite=again, reporter=reporter
            )
        except InputError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:
            failed[name] = one_line(error)  # hours of the others are not lost for one
            reporter.say(f"  {method.title} failed: {failed[name]}")
    judge = Judge(task, folder, options.budget, options.bootstrap, device, overwrite, reporter)
    controls = control_cubes(task, samples)
    rows = {name: cell.cubes for name, cell in cells.items()}
    values: dict[str, Any] = {}
    for row, cubes in {**rows, **controls}.items():
        title = f"{task.scene.name}, {task.protocol}: judging {row}"
        with reporter.stage(title):
            values[row] = _judged(judge, row, cubes, cells.get(row), folder, options)
    _draw(task, folder, {"real": controls["real"], **rows})
    return {
        "status": "done",
        "facts": {**task.to_dict(), **judge.facts(), "samples": samples, "budget": options.budget},
        "rows": values,
        "methods": {
            name: {
                "title": METHODS[name].title,
                "generates": METHODS[name].generates,
                "seconds": cell.record["seconds"],
                "memory": cell.record["memory"],
                "summary": cell.record["summary"],
            }
            for name, cell in cells.items()
        },
        "failed": failed,
        "out_of_order": out_of_order(task.protocol, {row: values[row] for row in controls}),
        "standing": _standings(task.protocol, values),
    }


def _standings(protocol: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of HUD among the generators, in the measures of the headline."""
    made = {
        name: row for name, row in values.items() if name in METHODS and METHODS[name].generates
    }
    known = {measure.key: measure for measure in MEASURES[protocol]}
    return {key: standing(known[key], made, "hud") for key in HEADLINE if key in known}


def _judged(
    judge: Judge,
    row: str,
    cubes: Cubes,
    cell: Cell | None,
    folder: Path,
    options: ComparisonOptions,
) -> dict[str, Any]:
    """The values of a row, from its file where they are of the same cubes and settings."""
    made_of: dict[str, Any] = {
        "cell": None if cell is None else cell.record["settings"],
        "samples": len(cubes),
        "budget": options.budget,
        "bootstrap": options.bootstrap,
        "seed": judge.task.seed,
        "fingerprint": judge.task.fingerprint,
    }
    path = folder / "rows" / f"{row}.json"
    if path.exists() and not judge.overwrite:
        known = read_json(path)
        if isinstance(known, dict) and known.get("of") == made_of:
            return dict(known["values"])
    values = judge.values(cubes, real=row == "real")
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"of": made_of, "values": values})
    return dict(read_json(path)["values"])


def _draw(task: Task, folder: Path, cubes: Mapping[str, Cubes]) -> None:
    """Figures 3 and 4 of one table, into the folder ``figures`` beside the scenes'."""
    shown = {
        METHODS[name].title if name in METHODS else "real": made for name, made in cubes.items()
    }
    figures = folder.parents[2] / "figures"
    figures.mkdir(exist_ok=True)
    name = f"{folder.parent.name}-{task.protocol}.png"
    save_figure(comparison_panels(task.scene, shown), figures / f"panels-{name}")
    save_figure(
        comparison_densities(task.reference, shown, task.full_scale), figures / f"densities-{name}"
    )
