"""What a command needs is told, and refused where the machine, a container or a limit leaves less."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hud_fast import cli
from hud_fast._limits import limit_memory
from hud_fast.diffusion import HUD, processes
from hud_fast.diffusion.presets import PRESETS, Preset
from hud_fast.diffusion.sampling import CPU_GROUP, samples_at_once
from hud_fast.pipeline import memory
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import (
    MIB,
    Need,
    few_at_once,
    in_parts,
    of_job,
    of_measuring,
    of_samples,
    of_unmixing,
)
from hud_fast.pipeline.model import generate
from hud_fast.pipeline.options import ModelOptions, SampleOptions
from hud_fast.pipeline.progress import Reporter
from hud_fast.scenes import save_scene, simulate_scene


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_too_little_is_told_with_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    need, lines = Need(1000 * MIB, "take a smaller scene", 300 * MIB), Lines()
    monkeypatch.setattr(memory, "resident_memory", lambda: 100 * MIB)
    for free in (None, 900 * MIB, 701 * MIB):
        monkeypatch.setattr(memory, "available_memory", lambda free=free: free)
        need.check("run", lines)
    assert set(lines.lines) == {"  needs about 1000.0 MiB of memory, 300.0 MiB of disk"}
    monkeypatch.setattr(memory, "available_memory", lambda: 699 * MIB)
    with pytest.raises(
        InputError, match=r"run needs about 1000.0 MiB .* may have 799.0 MiB: take a smaller scene"
    ):
        need.check("run", lines)


def test_what_to_lower_is_what_needs_most() -> None:
    tiny, paper = PRESETS["tiny"], PRESETS["paper"]
    assert "scene" in of_job((3000, 3000, 200), tiny).lower
    assert "accumulate" in of_job((100, 100, 50), paper).lower
    assert "--samples" in of_job((100, 100, 50), tiny, (5000, 64, 64)).lower
    assert of_unmixing((400, 400, 100)).memory == pytest.approx(478 * MIB, rel=0.01)
    small, large = (of_samples((n, n), 200, 10**6, tiny).memory for n in (32, 512))
    assert small < large
    assert (
        of_measuring((100, 100, 50), (1, 8, 8)).memory
        < of_measuring((100, 100, 50), (9, 8, 8)).memory
    )


@pytest.fixture
def keep_to() -> Iterator[Callable[[int], None]]:
    yield lambda mib: limit_memory(mib * MIB)
    limit_memory(None)


def test_a_batch_in_parts_keeps_to_the_limit(keep_to: Callable[[int], None]) -> None:
    scene, lines = (145, 145, 200), Lines()
    options = ModelOptions(preset="small", settings=("patches=no", "batch=48"))
    needs = {
        n: of_job(scene, _with(options, n)).memory / MIB for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
    }
    assert in_parts(options, scene, lines) is options
    for parts, fits in ((1, 1), (2, 2), (3, 3), (12, 12), (48, 48)):
        keep_to(math.ceil(needs[fits]))
        chosen = in_parts(options, scene, lines)
        assert chosen.resolve().accumulate == parts
        assert of_job(scene, chosen.resolve()).memory <= math.ceil(needs[fits]) * MIB
    assert lines.lines[-1] == "  accumulate=48 keeps the training to --memory"
    keep_to(1)  # nothing does: told where the need is checked
    with pytest.raises(InputError, match=r"fit needs about .* may have 1.0 MiB"):
        of_job(scene, in_parts(options, scene, lines).resolve()).check("fit", lines)
    given = replace(options, settings=(*options.settings, "accumulate=6"))
    keep_to(math.ceil(needs[1]))
    assert in_parts(given, scene, lines) is given  # never fewer than the user's
    with pytest.MonkeyPatch.context() as patch:  # of two processes each has half of the batch
        patch.setattr(processes, "count", lambda: 2)
        keep_to(1)
        assert in_parts(options, scene, lines).resolve().accumulate == 24
    alone = ModelOptions(preset="instant")
    assert in_parts(alone, scene, lines) is alone


def _with(options: ModelOptions, parts: int) -> Preset:
    return replace(options.resolve(), accumulate=parts)


def test_fewer_samples_at_a_time_are_the_same(keep_to: Callable[[int], None]) -> None:
    scene = simulate_scene(24, 24, C=8, D=3, seed=0)
    preset = replace(
        PRESETS["tiny"],
        widths=(8, 8),
        attention=(False, False),
        layers=1,
        crop=8,
        steps=1,
        patches="no",
    )
    model = HUD.fit(scene, endmembers=3, preset=preset, device="cpu")
    few = {"sampler_steps": 2, "samples": 9}
    assert few_at_once(model, 9, (8, 8)) is None
    whole = generate(model, SampleOptions(**few), 0, Reporter())
    keep_to(10**6)
    assert few_at_once(model, 9, (8, 8)) == samples_at_once()
    keep_to(1)
    assert few_at_once(model, 9, (8, 8)) == CPU_GROUP
    asked = []
    sample = HUD.sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            HUD, "sample", lambda *a, **how: asked.append(how["batch_size"]) or sample(*a, **how)
        )
        cut = generate(model, SampleOptions(**few), 0, Reporter())
    assert asked == [CPU_GROUP]
    assert cut[2] is None  # no classes, no class maps
    assert [a.tobytes() for a in cut[:2]] == [a.tobytes() for a in whole[:2]]


@pytest.mark.parametrize("command", ["fit", "run", "evaluate"])
def test_what_trains_is_cut(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Up to the training, which gets the batch in parts."""
    scene = tmp_path / "scene.npy"
    save_scene(simulate_scene(70, 40, C=8, D=3, seed=0), scene)
    words = ["widths=8,8", "attention=no,no", "layers=1", "patches=no", "batch=64"]
    options = ModelOptions(settings=tuple(words))
    least = math.ceil(of_job((70, 40, 8), _with(options, 4)).memory / 1024)

    def fit(*_: object, preset: Preset, **__: object) -> None:
        raise InputError(f"in {preset.accumulate} parts")

    monkeypatch.setattr(HUD, "fit", fit)
    monkeypatch.setattr("hud_fast._limits.resident_memory", lambda _: 0)  # as of a new process
    settings = [word for setting in words for word in ("--set", setting)]
    job = [command, str(scene), "--out", str(tmp_path / "out"), "--endmembers", "3", *settings]
    job += [] if command == "fit" else ["--samples", "2", "--size", "8"]
    assert cli.main([*job, "--device", "cpu", "--memory", f"{least}K"]) == 2
    assert "Error: in 4 parts" in capsys.readouterr().err


def test_fewer_samples_are_made_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = HUD.fit(
        simulate_scene(24, 24, C=8, D=3, seed=0), endmembers=3, preset="instant", device="cpu"
    )
    model.save(tmp_path / "model")
    asked = []

    def batches(*_: object, batch_size: int | None, **__: object) -> None:
        asked.append(batch_size)
        raise InputError("asked")

    monkeypatch.setattr(HUD, "sample_batches", batches)
    monkeypatch.setattr("hud_fast._limits.resident_memory", lambda _: 0)
    need = of_samples((64, 64), 11, 64, PRESETS["instant"], CPU_GROUP).memory
    job = ["sample", str(tmp_path / "model"), "--out", str(tmp_path / "o.npy"), "--size", "64"]
    for more in ([], ["--memory", f"{math.ceil(need / 1024)}K"]):
        assert cli.main([*job, "--device", "cpu", *more]) == 2
        assert "Error: asked" in capsys.readouterr().err
    assert asked == [None, CPU_GROUP]
