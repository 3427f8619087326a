"""The evaluation end to end, small: what trains and what does not, what is written, how it resumes."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusion.conftest import MICRO

from hud_fast import cli
from hud_fast.diffusion import HUD, PRESETS
from hud_fast.pipeline import (
    InputError,
    ModelOptions,
    Reporter,
    SampleOptions,
    SceneOptions,
    evaluate_scene,
    run_scene,
)
from hud_fast.pipeline.evaluate import split
from hud_fast.pipeline.progress import Progress
from hud_fast.scenes import Scene, save_scene, simulate_scene

SMALLEST = replace(MICRO, steps=6, sampler_steps=2)
MODEL = ModelOptions(endmembers=3, device="cpu")
SAMPLES = SampleOptions(samples=4)
ARGUMENTS: dict[str, Any] = {"model_options": MODEL, "sample_options": SAMPLES, "bootstrap": 40}


@pytest.fixture(scope="module", autouse=True)
def micro() -> Iterator[None]:
    """`tiny` means the smallest settings that still have every part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALLEST)
        yield


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(30, 16, C=12, D=3, seed=0)


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory, scene: Scene) -> str:
    path = tmp_path_factory.mktemp("scene") / "field.hdr"
    save_scene(scene, path)
    return str(path)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, scene_file: str
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("evaluations") / "field"
    return out, evaluate_scene(scene_file, out, command="hud-fast evaluate field", **ARGUMENTS)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a small evaluation's time goes into the drawing."""

    def draw(folder: Path, evaluation: dict[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "power_spectra.png").write_text(evaluation["scene"])

    monkeypatch.setattr("hud_fast.pipeline.evaluate._draw", draw)


class Stopper(Reporter):
    """Remembers the stages, and stops at one of them."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.stages: list[str] = []
        self.stop_at = stop_at

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        if self.stop_at and name.startswith(self.stop_at):
            raise KeyboardInterrupt
        self.stages.append(name)
        yield lambda done, total: None  # noqa: ARG005


def comparable(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run."""
    varying = ("seconds", "hours", "starts", "peak_memory_bytes", "command")
    kept = {key: value for key, value in evaluation.items() if key not in varying}
    kept["model"] = {k: v for k, v in kept["model"].items() if k != "training_seconds"}
    return kept


def test_everything_is_there(finished: tuple[Path, dict[str, Any]]) -> None:
    out, evaluation = finished
    assert sorted(p.name for p in out.iterdir()) == [
        "evaluation.json",
        "figures",
        "generated",
        "model",
        "run.json",
    ]
    assert sorted(p.name for p in (out / "figures").iterdir()) == [
        "abundance_histograms.png",
        "power_spectra.png",
    ]
    assert json.loads((out / "evaluation.json").read_text()) == evaluation
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert np.load(out / "generated" / "generated.npy").shape == (4, 8, 8, 12)
    quality = evaluation["quality"]
    assert quality["generated"]["blocks"] == 4
    assert quality["settings"]["bootstrap"] == 40
    assert len(quality["generated"]["power"]) == 3
    realism = evaluation["realism"]
    for row in ("generated", "held_out", "real"):
        assert realism[row]["blocks"] == 4
        assert realism[row]["spectra"]["grain"]["interval"] is not None
    assert realism["generated"]["spectra"] != realism["held_out"]["spectra"]
    assert evaluation["notes"] == []


def test_the_result_can_be_traced(finished: tuple[Path, dict[str, Any]]) -> None:
    evaluation = finished[1]
    assert evaluation["command"] == "hud-fast evaluate field"
    assert evaluation["settings"]["samples"] == 4
    assert evaluation["settings"]["scene fingerprint"]
    assert evaluation["preset"]["crop"] == 8
    assert evaluation["training_steps"] == 6
    assert {"unmixing", "training", "generating", "measuring"} <= set(evaluation["seconds"])
    assert evaluation["hours"] == pytest.approx(sum(evaluation["seconds"].values()) / 3600)
    assert evaluation["peak_memory_bytes"]["cpu"] > 2**20
    assert evaluation["machine"]["processor"]
    assert evaluation["versions"]["torch"]
    assert "commit" in evaluation
    assert evaluation["split"] == {
        "cut_between": "rows",
        "cut": 15,
        "training": [15, 16, 12],
        "held_out": [15, 16, 12],
    }


@pytest.mark.usefixtures("no_figures")
def test_the_held_out_half_never_trains(
    tmp_path: Path, scene: Scene, finished: tuple[Path, dict[str, Any]]
) -> None:
    other = scene.cube.copy()
    other[15:] = simulate_scene(15, 16, C=12, D=3, seed=9).cube * 3
    save_scene(scene.replace(cube=other), tmp_path / "field.hdr")
    second = evaluate_scene(str(tmp_path / "field.hdr"), tmp_path / "out", **ARGUMENTS)
    one, two = HUD.load(finished[0] / "model"), HUD.load(tmp_path / "out" / "model")
    assert np.array_equal(one.endmembers, two.endmembers)
    assert one.abundances.shape[:2] == (15, 16)
    for a, b in zip(
        one.network.state_dict().values(), two.network.state_dict().values(), strict=True
    ):
        assert a.equal(b)
    maps = [
        np.load(out / "generated" / "abundances.npy") for out in (finished[0], tmp_path / "out")
    ]
    assert np.array_equal(*maps)
    first = finished[1]["quality"]["generated"]
    changed = second["quality"]["generated"]
    assert changed["point_fidelity"] == first["point_fidelity"]  # against the training half
    assert changed["angle_to_held_out"] != first["angle_to_held_out"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("stage", ["Training", "Generating", "Measuring", "Drawing"])
def test_an_interrupted_evaluation_goes_on(
    tmp_path: Path, scene_file: str, finished: tuple[Path, dict[str, Any]], stage: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate_scene(scene_file, tmp_path, reporter=Stopper(stage), **ARGUMENTS)
    assert not (tmp_path / "figures").exists()
    recorder = Stopper()
    evaluation = evaluate_scene(scene_file, tmp_path, reporter=recorder, **ARGUMENTS)
    order = ["Training", "Generating", "Measuring", "Drawing"]
    for name in order[: order.index(stage)]:
        assert not any(s.startswith(name) for s in recorder.stages)
    assert any(s.startswith(stage) for s in recorder.stages)
    assert comparable(evaluation) == comparable(finished[1])
    assert (tmp_path / "figures" / "power_spectra.png").is_file()


@pytest.mark.usefixtures("no_figures")
def test_the_memory_of_an_earlier_start_counts(
    tmp_path: Path, scene_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hud_fast.pipeline.evaluate.peak_memory", lambda: {"cpu": 7 * 2**40})
        with pytest.raises(KeyboardInterrupt):
            evaluate_scene(scene_file, tmp_path, reporter=Stopper("Measuring"), **ARGUMENTS)
    monkeypatch.setattr(
        "hud_fast.pipeline.evaluate.peak_memory", lambda: {"cpu": 2**30, "gpu": 2**20}
    )
    evaluation = evaluate_scene(scene_file, tmp_path, **ARGUMENTS)
    assert evaluation["peak_memory_bytes"] == {"cpu": 7 * 2**40, "gpu": 2**20}
    assert evaluation["starts"] == 2


@pytest.mark.usefixtures("no_figures")
def test_a_finished_folder_is_refused_and_can_be_replaced(
    tmp_path: Path, scene_file: str, finished: tuple[Path, dict[str, Any]]
) -> None:
    with pytest.raises(InputError, match=r"holds a finished run: .*--overwrite"):
        evaluate_scene(scene_file, finished[0], **ARGUMENTS)
    (tmp_path / "evaluation.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"holds no run of hud-fast, but evaluation.json, "):
            evaluate_scene(scene_file, tmp_path, overwrite=overwrite, **ARGUMENTS)
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine.txt").write_text("mine")
    evaluation = evaluate_scene(scene_file, tmp_path, overwrite=True, **ARGUMENTS)
    assert comparable(evaluation) == comparable(finished[1])
    assert (tmp_path / "mine.txt").is_file()


def test_other_settings_and_other_jobs_do_not_go_on(tmp_path: Path, scene_file: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate_scene(scene_file, tmp_path, reporter=Stopper("Generating"), **ARGUMENTS)
    with pytest.raises(InputError, match=r"unfinished run with bootstrap = 40, not 41"):
        evaluate_scene(scene_file, tmp_path, **{**ARGUMENTS, "bootstrap": 41})
    with pytest.raises(InputError, match=r"unfinished run with bootstrap = 40, not None"):
        run_scene(scene_file, tmp_path, model_options=MODEL, sample_options=SAMPLES)


def test_another_mask_is_noticed(tmp_path: Path, scene_file: str) -> None:
    def start(row: int, reporter: Reporter) -> None:
        mask = np.ones((30, 16), np.uint8)
        mask[row] = 0
        np.save(tmp_path / "mask.npy", mask)
        options = SceneOptions(mask=str(tmp_path / "mask.npy"))
        out = tmp_path / "out"
        evaluate_scene(scene_file, out, scene_options=options, reporter=reporter, **ARGUMENTS)

    with pytest.raises(KeyboardInterrupt):
        start(2, Stopper("Generating"))
    with pytest.raises(InputError, match=r"unfinished run with valid pixels fingerprint = "):
        start(3, Stopper())


@pytest.mark.usefixtures("no_figures")
def test_a_start_that_saw_the_held_out_half_is_refused(
    tmp_path: Path, scene_file: str, finished: tuple[Path, dict[str, Any]]
) -> None:
    start = ModelOptions(endmembers=3, device="cpu", start=str(finished[0] / "model"))
    arguments: dict[str, Any] = {**ARGUMENTS, "model_options": start}
    with pytest.raises(
        InputError, match=r"--start-from must be a model that never saw field, .* of field"
    ):
        evaluate_scene(scene_file, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
    save_scene(simulate_scene(30, 16, C=9, D=3, seed=4), tmp_path / "other.hdr")
    found = evaluate_scene(str(tmp_path / "other.hdr"), tmp_path / "out", **arguments)
    assert found["settings"]["start"] == str(finished[0] / "model")


def test_scenes_without_room_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    save_scene(simulate_scene(12, 12, C=6, D=3, seed=0), tmp_path / "small.hdr")
    with pytest.raises(
        InputError, match=r"each half of small must hold at least 4 windows of 8 x 8 .* 12 x 12"
    ):
        evaluate_scene(str(tmp_path / "small.hdr"), tmp_path / "out", **ARGUMENTS)
    assert not (tmp_path / "out").exists()
    save_scene(simulate_scene(30, 16, C=6, D=3, seed=0), tmp_path / "field.hdr")
    large = {**ARGUMENTS, "sample_options": SampleOptions(samples=4, size=(16, 9))}
    with pytest.raises(InputError, match=r"windows of 16 x 9 valid pixels .* smaller --size"):
        evaluate_scene(str(tmp_path / "field.hdr"), tmp_path / "out", **large)


def test_where_scenes_are_cut() -> None:
    wide = split(Scene(np.ones((12, 30, 3))), (8, 8))
    assert (wide.axis, wide.cut, wide.training.shape, wide.held_out.shape) == (
        1,
        15,
        (12, 15, 3),
        (12, 15, 3),
    )
    # Too short for windows of 8 x 16 one beside the other, but not one below the other.
    other = split(Scene(np.ones((24, 25, 3))), (8, 16))
    assert (other.axis, other.cut) == (0, 12)
    mask = np.ones((30, 16), bool)
    mask[15:, 4] = False
    assert split(Scene(np.ones((30, 16, 3)), mask=mask), (8, 8)).held_out.valid.sum() == 225
    mask[:, ::5] = False
    with pytest.raises(InputError, match=r"too small or too masked"):
        split(Scene(np.ones((30, 16, 3)), mask=mask), (8, 8))


@pytest.mark.usefixtures("no_figures")
def test_masked_pixels_neither_train_nor_count(tmp_path: Path, scene: Scene) -> None:
    mask = np.ones((30, 16), np.uint8)
    mask[[2, 28]] = 0
    cube = scene.cube.copy()
    cube[[2, 28]] = 40.0
    save_scene(scene.replace(cube=cube), tmp_path / "field.hdr")
    np.save(tmp_path / "mask.npy", mask)
    found = evaluate_scene(
        str(tmp_path / "field.hdr"),
        tmp_path / "out",
        scene_options=SceneOptions(mask=str(tmp_path / "mask.npy")),
        **ARGUMENTS,
    )
    assert HUD.load(tmp_path / "out" / "model").endmembers.max() < 30
    assert found["quality"]["held_out"]["point_fidelity"]["value"] > 0.99


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sample_options": SampleOptions(samples=1)}, r"--samples must be at least 2, got 1"),
        ({"sample_options": SampleOptions(samples=0)}, r"--samples must be at least 2, got 0"),
        (
            {"sample_options": SampleOptions(size=(4, 9))},
            r"--size must be at least 8 x 8, got 4 x 9",
        ),
        ({"sample_options": SampleOptions(sampler_steps=1001)}, r"from 1 to T = 1000, got 1001"),
        ({"bootstrap": -1}, r"--bootstrap must be at least 0, got -1"),
        ({"model_options": ModelOptions(preset="huge")}, r"--preset must be one of instant, tiny"),
    ],
)
def test_bad_options(tmp_path: Path, scene_file: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        evaluate_scene(scene_file, tmp_path / "out", **{**ARGUMENTS, **changes})
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_table(
    tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", scene_file, "--out", str(tmp_path / "e"), "--endmembers", "3"]
    arguments += ["--samples", "4", "--size", "8x10", "--bootstrap", "20", "--device", "cpu"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("field, blocks of 8 x 10: 4 generated, 56 held out (ceiling)")
    assert lines[-1] == f"All numbers: {tmp_path / 'e' / 'evaluation.json'}"
    evaluation = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    value = evaluation["quality"]["generated"]["point_fidelity"]
    low, high = value["interval"]
    (line,) = [line for line in lines if "Point fidelity" in line]
    assert f"{value['value']:.5f} [{low:.5f}, {high:.5f}]" in line
    (line,) = [line for line in lines if "Near copies" in line]
    assert f"{evaluation['quality']['generated']['copies']['near_copies']} of 4 (expected" in line
    assert any(line.startswith("Do they pass for blocks of the training half?") for line in lines)
    edges = evaluation["realism"]["held_out"]["z"]["straight_edges"]["value"]
    (line,) = [line for line in lines if "Straight edges, log abundances" in line]
    assert f" {edges:.3f} (" in line
    assert any(
        line.startswith("Note: the classifier is undefined") for line in shown.out.split("\n")
    )
    for words in ("D_b / F_p", "Angle to the held-out half", "Abundances to the", "dB", "Recall"):
        assert any(words in line for line in lines), words
    assert "15 x 16 pixels train, 15 x 16 are held out" in shown.err
    assert "\x1b" not in shown.out + shown.err
    assert cli.main(arguments) == 2
    assert "holds a finished run" in capsys.readouterr().err
    no_intervals = [*arguments[:-2], "--device", "cpu", "--bootstrap", "0", "--overwrite"]
    assert cli.main(no_intervals) == 0
    assert "[" not in capsys.readouterr().out
