"""A cell: one method on one scene under one protocol, trained and sampled, kept in a folder of its own.

``model/``, ``generated.npy`` and ``cell.json`` (settings, seconds, memory, what the model is). Each is written whole; a
cell that was interrupted goes on from what is there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write, sweep
from hud_fast.comparison.protocols import Task
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import read_json, remove_checkpoints, write_json
from hud_fast.report.machine import forget_peak_memory, peak_memory

if TYPE_CHECKING:
    from hud_fast.baselines import Method

MODEL, CHECKPOINTS, CUBES, RECORD = "model", "checkpoints", "generated.npy", "cell.json"


@dataclass(frozen=True, eq=False)
class Cell:
    """What came of a cell."""

    cubes: NDArray[np.float32]  # (n, 32, 32, C)
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Order:
    """What is asked of a cell: the method, its budget, how many samples.

    `settings` are changes of the budget's, `extra` further arguments of the method's `fit`.
    """

    task: Task
    method: type[Method]
    budget: str
    samples: int
    settings: Mapping[str, Any]
    extra: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As it is kept, and as it will read back."""
        task = self.task
        asked = {
            "method": self.method.name,
            "protocol": task.protocol,
            "scene": task.scene.name,
            "fingerprint": task.fingerprint,
            "budget": self.budget,
            "samples": self.samples,
            "seed": task.seed,
            "changes": dict(self.settings),
            "extra": {name: str(value) for name, value in self.extra.items()},
        }
        found: dict[str, Any] = json.loads(json.dumps(asked))
        return found

    def is_made(self, folder: Path) -> bool:
        """Whether an earlier call finished just this there."""
        path = folder / RECORD
        if not path.is_file():
            return False
        known = read_json(path)
        finished = isinstance(known, dict) and known.get("status") == "finished"
        return finished and known.get("settings") == self.to_dict()


def make_cell(
    order: Order, folder: Path, *, device: str, overwrite: bool, reporter: Reporter
) -> Cell:
    """Train the method and draw its samples, or read what an earlier call left.

    Raises
    ------
    InputError
        The folder holds a cell of other settings, and `overwrite` is not given.
    """
    task, method = order.task, order.method
    record = claim(folder, order.to_dict(), overwrite)
    title = f"{task.scene.name}, {task.protocol}: {method.title}"
    if record["status"] == "finished":
        reporter.say(f"  {title}: made already")
        return Cell(np.load(folder / CUBES), record)
    if record["trained"]:
        model = method.load(folder / MODEL, device=device)
    else:
        with _timed(record, "training", folder), reporter.stage(f"{title}, training") as progress:
            fit: Any = method.fit  # `extra` is of one method alone
            model = fit(
                task.training,
                budget=order.budget,
                seed=task.seed,
                device=device,
                scaling=task.scaling,
                settings=order.settings,
                checkpoint_dir=folder / CHECKPOINTS,
                resume=record["starts"] > 1,
                progress=progress,
                **order.extra,
            )
        model.save(folder / MODEL)
        record["trained"] = (
            True  # what lies there is of these settings: `--overwrite` leaves an older one till now
        )
        write_json(folder / RECORD, record)
        remove_checkpoints(folder / CHECKPOINTS)
    with _timed(record, "sampling", folder), reporter.stage(f"{title}, sampling") as progress:
        cubes = model.sample(order.samples, seed=task.seed, progress=progress)
    if not np.isfinite(cubes).all():
        raise RuntimeError(f"{method.title} made values that are not finite")
    with atomic_write(folder / CUBES) as file:
        np.save(file, cubes)
    record.update(status="finished", summary=model.summary())
    write_json(folder / RECORD, record)
    return Cell(cubes, record)


def claim(folder: Path, wanted: Mapping[str, Any], overwrite: bool) -> dict[str, Any]:
    """The record of a folder whose content has these settings: a new one, or the one that lies there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, CUBES, RECORD):
        sweep(folder / name)
    path = folder / RECORD
    record: dict[str, Any] = {
        "status": "running",
        "trained": False,
        "settings": wanted,
        "seconds": {},
        "memory": {},
        "starts": 0,
    }
    if path.exists() and not overwrite:
        old = read_json(path)
        if not isinstance(old, dict) or not old.keys() >= record.keys():
            raise InputError(f"{path} is not of a comparison: choose another --out")
        for name in sorted({*old["settings"], *wanted}):
            was, now = old["settings"].get(name), wanted.get(name)
            if was != now:
                raise InputError(
                    f"{folder} was made with {name} = {was}, not {now}: give the same settings, another --out, or "
                    "--overwrite to make it anew"
                )
        record = old
    record["starts"] += 1
    if record["status"] != "finished":
        write_json(path, record)
    return record


@contextlib.contextmanager
def _timed(record: dict[str, Any], name: str, folder: Path) -> Iterator[None]:
    """Add up the seconds of the block under `name`, and keep its largest memory."""
    forget_peak_memory()
    start = time.monotonic()
    try:
        yield
    finally:
        seconds = record["seconds"]
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - start
        for kind, peak in peak_memory().items():
            record["memory"][kind] = max(peak, record["memory"].get(kind, 0))
        with contextlib.suppress(OSError):
            write_json(folder / RECORD, record)
