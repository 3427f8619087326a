"""benchmarks/pretraining.py at the smallest size: what it judges by, and what it says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import diffusion_tables
import pretraining
import pytest
import torch
from diffusion.conftest import MICRO

from hud_fast.diffusion.fitting import trainer_of
from hud_fast.diffusion.training import Trainer
from hud_fast.scenes import Scene, save_scene, simulate_scene

TINY = [
    "widths=8,8",
    "attention=no,no",
    "groups=4",
    "crop=8",
    "batch=2",
    "warmup=2",
    "learning_rate=0.01",
]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(24, 30, C=20, D=3, seed=0)


def training(scene: Scene, seed: int = 0) -> Trainer:
    preset = replace(MICRO, prediction="residual", steps=40, learning_rate=1e-2)
    prepared = pretraining.prepared(scene, 3, None)
    return trainer_of([prepared], preset, seed=seed, encoder="fcls")


def test_the_judge_is_eq_15_on_draws_of_its_own(scene: Scene) -> None:
    trainer = training(scene)
    judge = pretraining.Judge(trainer, 40)
    assert torch.equal(judge.z, pretraining.Judge(training(scene, seed=7), 40).z)
    abar = trainer.schedule.alphas_cumprod[judge.t].view(-1, 1, 1, 1)
    noisy = abar.sqrt() * judge.z + (1 - abar).sqrt() * judge.noise
    with torch.no_grad():
        said = trainer.network(noisy.float(), judge.t)
    by_hand = float((said - judge.noise).square().double().mean())
    assert judge.loss(trainer.network) == pytest.approx(by_hand, rel=1e-5)
    assert len(set(judge.t.tolist())) == 40
    assert abs(float(judge.noise.std()) - 1) < 0.05
    at = [0, 1, 40]
    found = pretraining.curve(trainer, judge, at)
    assert list(found["losses"]) == at
    assert found["losses"][40] < found["losses"][0]
    assert found["losses"][40] == judge.loss(trainer.network, trainer.averaged_weights())
    assert found["losses"][40] != judge.loss(trainer.network), "not the average"


def test_the_summary_counts() -> None:
    def row(seed: int, start: str, *losses: float) -> dict[str, object]:
        return {"seed": seed, "start": start, "losses": dict(zip((0, 5, 9), losses, strict=True))}

    rows = [
        row(0, "scratch", 1.0, 0.8, 0.6),
        row(1, "scratch", 1.0, 0.6, 0.4),
        row(0, "pre-trained", 0.7, 0.5, 0.4),
        row(1, "pre-trained", 0.7, 0.5, 0.5),
    ]
    found = pretraining.summary(rows, [0, 5, 9])
    assert found["mean losses"]["scratch"] == pytest.approx({0: 1.0, 5: 0.7, 9: 0.5})
    assert found["seeds in which the pre-trained start is ahead"] == {0: 2, 5: 2, 9: 1}
    assert found["first step at which it has scratch's loss of step 9"] == 5


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number, (H, W, C) in enumerate([(20, 22, 12), (24, 18, 20), (21, 21, 15)]):
        files.append(str(tmp_path / f"scene-{number}.mat"))
        save_scene(simulate_scene(H, W, C=C, D=3, seed=number), files[-1])
    out, kept = tmp_path / "out.json", tmp_path / "kept"
    words = ["--learn", *files[:2], "--then", files[2], "--endmembers", "3", "--out", str(out)]
    words += ["--steps", "4", "--pretrain-steps", "5", "--at", "2", "--seeds", "2"]
    words += ["--windows", "6", "--device", "cpu", "--keep", str(kept)]
    words += [word for setting in TINY for word in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["pretraining", *words])
    pretraining.main()
    found = json.loads(out.read_text())
    assert found["learned"] == ["scene-0", "scene-1"]
    assert [(row["seed"], row["start"]) for row in found["rows"]] == [
        (seed, start) for seed in (0, 1) for start in ("scratch", "pre-trained")
    ]
    losses = [row["losses"] for row in found["rows"]]
    assert all(list(one) == ["0", "2", "4"] for one in losses)
    assert losses[0]["0"] == losses[2]["0"] == found["prior"], "untrained: the prior's guess"
    assert losses[1]["0"] == losses[3]["0"] != found["prior"]
    assert (kept / "network.safetensors").is_file()
    table = diffusion_tables.pretraining(found)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == "| step | loss, scratch | loss, pre-trained | pre-trained ahead |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 0", "| 2", "| 4"]
    assert f"{losses[0]['0']:.5f}" in lines[2]
