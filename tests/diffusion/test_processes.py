"""Two processes do what one does. They run `two_processes.py` once for all of these tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_processes as two
from launch import launch

from hud_fast._torchrun import announced, told
from hud_fast.diffusion import HUD, processes
from hud_fast.diffusion.checkpoint import read_tensors
from hud_fast.diffusion.training import share_of_batch
from hud_fast.metrics import frechet_distance

# Relative, of an entry of the loss curve: a batch in two slices sums in another order. The worst that was measured is
# 1.5e-7, one bit of float32.
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    two.fit(checkpoint_dir=folder / "rank-0" / "of-one", steps=two.STOPPED)
    two.fit(steps=6).save(folder / "model")
    for done in launch(two.__file__, str(folder)):
        assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> list[float]:
    """The loss curve of one process."""
    return losses(two.fit())


def worst(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a) / np.asarray(b) - 1).max())


def losses(model: HUD) -> list[float]:
    return [entry["loss"] for entry in model.history]


def test_who_is_who(said: list[dict[str, Any]]) -> None:
    assert [(one["rank"], one["count"], one["after"]) for one in said] == [
        (0, 2, [0, 1]),
        (1, 2, [0, 1]),
    ]
    assert (processes.rank(), processes.count(), processes.is_first()) == (0, 1, True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("plain", {}),
        ("accumulated", {}),
        ("weighted", {"loss_weight": "min_snr", "prediction": "v"}),
    ],
)
def test_the_loss_curve_is_that_of_one_process(
    said: list[dict[str, Any]], name: str, settings: dict[str, Any]
) -> None:
    alone = losses(two.fit(**settings))
    assert worst(said[0][f"losses {name}"], alone) < ROUNDING
    assert alone[-1] < 0.97 * alone[0]  # it did learn
    assert said[0][f"losses {name}"] == said[1][f"losses {name}"]


def test_all_processes_end_with_the_same_weights(folder: Path) -> None:
    first, second = (read_tensors(folder / f"model-{rank}.safetensors")[0] for rank in (0, 1))
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]


def test_checkpoints_of_one_process_go_on_in_two(
    said: list[dict[str, Any]], alone: list[float]
) -> None:
    assert worst(said[0]["losses resumed"], alone) < ROUNDING
    assert said[0]["losses resumed"] == said[1]["losses resumed"]
    for one in said:
        assert "learning_rate" in one["other training"]
        assert one["other training"].startswith("ValueError")


def test_checkpoints_of_two_processes_go_on_in_one(
    folder: Path, alone: list[float], tmp_path: Path
) -> None:
    newest = folder / "rank-0" / "checkpoints" / f"step-{two.STOPPED:010d}.safetensors"
    (tmp_path / newest.name).write_bytes(newest.read_bytes())
    ticks: list[int] = []
    model = HUD.fit(
        two.scene(),
        preset=two.LEARN,
        endmembers=3,
        seed=two.SEED,
        device="cpu",
        checkpoint_dir=tmp_path,
        progress=lambda done, _: ticks.append(done),
    )
    assert ticks[0] == two.STOPPED
    assert worst(losses(model), alone) < ROUNDING


def test_only_the_first_process_writes_and_reports(said: list[dict[str, Any]]) -> None:
    assert f"step-{two.LEARN.steps:010d}.safetensors" in said[0]["wrote"]
    assert said[1]["wrote"] == []
    assert said[0]["training ticks"] == [[k, two.STOPPED] for k in range(two.STOPPED + 1)]
    assert said[1]["training ticks"] == said[1]["ticks"] == []
    assert said[0]["ticks"][-1][0] == said[0]["ticks"][-1][1]


@pytest.mark.parametrize("k", range(len(two.samplings())))
def test_samples_have_the_bits_of_one_process(
    folder: Path, said: list[dict[str, Any]], k: int
) -> None:
    options = {**two.samplings()[k], "batch_size": None}
    alone = HUD.load(folder / "model", device="cpu").sample_abundances(**options, seed=3)
    np.testing.assert_array_equal(np.load(folder / f"sample-{k}.npy"), alone)
    assert said[1][f"shape {k}"] == [0, *alone.shape[1:]]


def test_a_generator_closed_early_leaves_nobody_waiting(said: list[dict[str, Any]]) -> None:
    assert [one["closed early"] for one in said] == [2, 0]
    assert [one["still together"] for one in said] == ["yes", "yes"]


def test_what_is_shared(said: list[dict[str, Any]]) -> None:
    for one in said:
        assert one["mean"] == [1.5, 3.0]
        assert one["on first"] == {"from": 0}
    assert said[0]["in turn"] == [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]
    assert said[1]["in turn"] == []


def test_measures_see_the_rows_of_all_processes(said: list[dict[str, Any]]) -> None:
    real, generated = two.two_sets().reshape(2, 20, 3)
    truth = pytest.approx(frechet_distance(generated, real), rel=1e-12)
    for one in said:
        assert one["everybodys"] == ["of 0", "of 1"]
        assert one["alone"] == ["first"]
        assert one["distances"] == [truth, truth]  # a value leaves the states as they were
    assert processes.everybodys("mine") == ["mine"]


def test_all_raise_what_one_raises(said: list[dict[str, Any]]) -> None:
    for one in said:
        assert one["failed on first"] == "FileExistsError | [Errno 17] taken: 'there'"
        assert one["failed in turn"] == "MemoryError | too much | in process 1"
        assert one["odd batch"] == (
            "ValueError | HUD.fit: `batch` must be a multiple of 4 (2 processes, 2 parts each), got 6"
        )
    assert said[0]["failed clumsily"] == "Clumsy | 1 and 2"
    assert said[1]["failed clumsily"] == "RuntimeError | Clumsy: 1 and 2"


def test_what_the_first_one_does_may_use_what_it_does_for_all(said: list[dict[str, Any]]) -> None:
    assert [one["by first"] for one in said] == ["read 3 of 0, and written"] * 2


LOST = """
import os, sys, torch
from hud_fast.diffusion import processes

with processes.starting():
    processes.on_first(lambda: "together")
    if processes.rank() == int(sys.argv[1]):
        os._exit(9)
    exchanges = {
        "mean": lambda: processes.mean(torch.ones(2)),
        "on first": processes.by_first(lambda: None),
        "in turn": lambda: list(processes.in_turn(iter([1]))),
    }
    exchanges[sys.argv[2]]()
"""


@pytest.mark.parametrize(("rank", "exchange"), [(0, "mean"), (1, "in turn"), (0, "on first")])
def test_a_process_that_is_gone_is_told_as_such(rank: int, exchange: str) -> None:
    done = launch("-c", LOST, str(rank), exchange)
    assert done[rank].code == 9
    assert done[1 - rank].code == 1
    assert (
        done[1 - rank]
        .err.splitlines()[-1]
        .endswith(
            "processes.LostProcess: another process has ended in the middle of the work "
            "(killed, or out of memory?)"
        )
    )


def test_shares_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_of_batch(two.LEARN) == range(8)
    monkeypatch.setattr(processes, "_group", processes.Group(3, 4, None, True))
    assert share_of_batch(two.LEARN) == range(6, 8)
    monkeypatch.setattr(processes, "_group", processes.Group(0, 3, None, True))
    with pytest.raises(ValueError, match=r"`batch` must be a multiple of 3 \(3 processes"):
        share_of_batch(two.LEARN)


def test_each_process_needs_a_gpu_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    processes.check_device("HUD.fit", torch.device("cuda:5"))  # alone: any
    monkeypatch.setattr(processes, "_group", processes.Group(0, 4, None, False))
    processes.check_device("HUD.fit", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RuntimeError, match=r"`device` must be cpu .* got cuda with 2 GPUs"):
        processes.check_device("HUD.fit", gpu)
    monkeypatch.setattr(processes, "_group", processes.Group(1, 2, None, True))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    processes.check_device("HUD.fit", gpu)
    processes.check_device("HUD.fit", torch.device("cuda:1"))
    with pytest.raises(RuntimeError, match=r"`device` must be cuda, .* got cuda:0"):
        processes.check_device("HUD.fit", torch.device("cuda:0"))


def test_what_torchrun_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not announced()
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "here",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert not announced()  # one process needs no group
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert announced()
    assert (told("WORLD_SIZE"), told("LOCAL_RANK", 7)) == (2, 7)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE must be a whole number, got 'two'"):
        announced()
