"""What each of two processes does for test_processes.py: ``python two_processes.py FOLDER``."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion.conftest import MICRO

from hud_fast.diffusion import HUD, processes
from hud_fast.diffusion.checkpoint import write_tensors
from hud_fast.metrics import FrechetDistance
from hud_fast.scenes import Scene, simulate_scene

# Checkpoints fall between two entries of the history, so that the sum of the losses travels as well.
LEARN = replace(
    MICRO,
    steps=30,
    batch=8,
    learning_rate=3e-3,
    decay="constant",
    checkpoint_every=5,
    clip=0.05,  # always at work
    keep=9,
)
STOPPED = 20  # steps of the trainings that are resumed
SEED = 1


def scene() -> Scene:
    return simulate_scene(24, 30, C=20, D=3, seed=0)


def fit(**settings: Any) -> HUD:
    options = {k: settings.pop(k) for k in ("checkpoint_dir", "steps") if k in settings}
    preset = replace(LEARN, **settings)
    return HUD.fit(scene(), preset=preset, endmembers=3, seed=SEED, device="cpu", **options)


def samplings() -> list[dict[str, Any]]:
    """Arguments of `HUD.sample_abundances`; those with equal n, size and sampler must give the same bits."""
    plain = [{"n": 9, "batch_size": size} for size in (None, 1, 3, 4, 100)]
    return [
        *plain,
        {"n": 1},
        {"n": 5, "sampler": "ddpm", "steps": 3, "first": 2},
        {"n": 3, "size": (20, 9), "tile": 12},
    ]


class Clumsy(Exception):
    """One that cannot travel: it does not come back from its own arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


@contextlib.contextmanager
def told(into: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
        into[name] = "nothing"
    except Exception as error:
        notes = getattr(error, "__notes__", [])
        into[name] = " | ".join([type(error).__name__, str(error), *notes])


@processes.by_first
def read(number: int) -> str:
    return f"read {number} of {processes.rank()}"


@processes.by_first
def copied(number: int) -> str:
    return f"{read(number)}, and written"


def fail(error: Exception) -> Any:
    raise error


def items(*, failing: bool) -> Iterator[int]:
    for k in range(5):
        if failing and k == 1 and processes.rank() == 1:
            raise MemoryError("too much")
        yield 10 * processes.rank() + k


def two_sets() -> np.ndarray:  # (2, 2, 10, 3)
    """Rows of a real and a generated set that two processes see."""
    return np.random.default_rng(0).normal(size=(2, 2, 10, 3))


def work(folder: Path) -> dict[str, Any]:
    rank = processes.rank()
    mine = folder / f"rank-{rank}"  # each its own, as on two machines
    said: dict[str, Any] = {"rank": rank, "count": processes.count()}

    progress: list[tuple[int, int]] = []
    model = HUD.fit(
        scene(),
        preset=LEARN,
        endmembers=3,
        seed=SEED,
        device="cpu",
        checkpoint_dir=mine / "checkpoints",
        steps=STOPPED,
        progress=lambda done, total: progress.append((done, total)),
    )
    model = fit(checkpoint_dir=mine / "checkpoints")
    write_tensors(folder / f"model-{rank}.safetensors", model.network.state_dict(), {})
    resumed = fit(checkpoint_dir=mine / "of-one")  # made by one process, in the first one's folder
    for name, trained in {
        "plain": model,
        "resumed": resumed,
        "accumulated": fit(accumulate=2),
        "weighted": fit(loss_weight="min_snr", prediction="v"),
    }.items():
        said[f"losses {name}"] = [entry["loss"] for entry in trained.history]
    said["training ticks"] = progress
    said["wrote"] = sorted(path.name for path in mine.glob("**/*") if path.is_file())

    given = HUD.load(folder / "model", device="cpu")
    said["ticks"] = []
    for k, options in enumerate(samplings()):
        made = given.sample_abundances(
            **options, seed=3, progress=lambda done, total: said["ticks"].append([done, total])
        )
        said[f"shape {k}"] = list(made.shape)
        if rank == 0:
            np.save(folder / f"sample-{k}.npy", made)
    batches = given.sample_batches(9, batch_size=2, seed=3)
    said["closed early"] = len(list(itertools.islice(batches, 2)))
    batches.close()

    said["mean"] = processes.mean(torch.tensor([1.0, 2.0]) * (1 + rank)).tolist()
    said["everybodys"] = processes.everybodys(f"of {rank}")
    said["alone"] = processes.on_first(lambda: processes.everybodys("first"))
    measure, (real, generated) = FrechetDistance(), two_sets()
    measure.update(real[rank], real=True)
    measure.update(generated[rank], real=False)
    said["distances"] = [measure.compute(), measure.compute()]
    said["on first"] = processes.on_first(lambda: {"from": rank})
    said["by first"] = copied(3)
    said["in turn"] = list(processes.in_turn(items(failing=False)))
    with told(said, "failed on first"):
        processes.on_first(lambda: fail(FileExistsError(17, "taken", "there")))
    with told(said, "failed clumsily"):
        processes.on_first(lambda: fail(Clumsy(1, 2)))
    with told(said, "failed in turn"):
        list(processes.in_turn(items(failing=True)))
    with told(said, "odd batch"):
        fit(batch=6, accumulate=2)
    with told(said, "other training"):
        fit(checkpoint_dir=mine / "of-one", learning_rate=1e-4)
    said["still together"] = processes.on_first(lambda: "yes")
    return said


def main(folder: Path) -> None:
    with processes.starting(), processes.starting():
        said = work(folder)
    said["after"] = [processes.rank(), processes.count()]
    (folder / f"said-{said['rank']}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
