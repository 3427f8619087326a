"""The main job end to end, small: what it writes, how it resumes, what a killed run loses."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast.pipeline import (
    InputError,
    ModelOptions,
    Reporter,
    RunResult,
    SampleOptions,
    SceneOptions,
    fit_model,
    measure,
    run_scene,
    sample_model,
    unmix_scene,
)
from hud_fast.pipeline.figures import NotDrawn, drawing, shown_settings
from hud_fast.pipeline.progress import Progress
from hud_fast.pipeline.rundir import read_json, write_json
from hud_fast.report import training_curve
from hud_fast.scenes import load_scene, save_scene, simulate_scene

MODEL = ModelOptions(endmembers=3, steps=2, device="cpu")
SAMPLES = SampleOptions(samples=3, size=(16, 16), sampler_steps=2)


class Recorder(Reporter):
    """Remembers the stages, and stops the run at one of them."""

    def __init__(self, stop_at: str | None = None, error: BaseException | None = None) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.progress: list[tuple[int, int]] = []
        self.stop_at, self.error = stop_at, error or KeyboardInterrupt()

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        if self.stop_at and name.startswith(self.stop_at):
            raise self.error
        self.stages.append(name)
        yield lambda done, total: self.progress.append((done, total))


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ENVI file with wavelengths, a bad band and a place on the map."""
    scene = simulate_scene(70, 40, C=20, D=3, seed=0)
    good = np.arange(20) != 7
    path = tmp_path_factory.mktemp("scene") / "field.hdr"
    geo = {"map info": "{UTM, 1, 1, 500000, 4000000, 20, 20, 16, North, WGS-84}"}
    save_scene(scene.replace(good_bands=good, geo=geo), path)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, scene_file: str) -> tuple[Path, RunResult]:
    out = tmp_path_factory.mktemp("runs") / "field"
    return out, run_scene(scene_file, out, model_options=MODEL, sample_options=SAMPLES)


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one small figure: most of a small run's time goes into the drawing."""
    figures = {"training_curve": training_curve([{"step": 1, "loss": 1.0}])}
    monkeypatch.setattr("hud_fast.pipeline.run.run_figures", lambda *_: figures)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_everything_is_there(finished: tuple[Path, RunResult]) -> None:
    out, result = finished
    assert sorted(p.name for p in out.iterdir()) == [
        "figures",
        "generated",
        "metrics.json",
        "model",
        "report.html",
        "run.json",
    ]
    assert result.report == out / "report.html"
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["memory"]["cpu"] > 0
    assert {"unmixing", "training", "generating", "measuring"} <= set(record["timings"])
    assert record["versions"]["torch"]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["simplex"]["share"] == 1.0
    assert 0 < metrics["point_fidelity"] <= 1
    assert metrics == result.metrics
    realism = metrics["realism"]
    assert realism["generated"]["blocks"] == realism["real"]["blocks"] == 3
    assert realism["settings"]["block"] == [16, 16]
    assert "the classifier is undefined: 6 tiles" in realism["notes"][0]
    page = result.report.read_text(encoding="utf-8")
    assert "Do the blocks pass for real?" in page
    assert "the classifier is undefined" in page
    names = {p.stem for p in (out / "figures").iterdir()}
    assert {"panels", "spectral_density", "abundance_maps", "endmembers", "residual_map"} <= names


def test_a_runs_folder_is_measured_with_its_endmembers(
    finished: tuple[Path, RunResult], scene_file: str
) -> None:
    """As the run itself measured: the copy check re-mixes real blocks as the model would."""
    out, result = finished
    numbers = measure(out, scene_file)
    assert result.metrics["settings"]["endmembers"] == numbers["settings"]["endmembers"] == 3
    assert numbers["copy_check"]["threshold"] == pytest.approx(
        result.metrics["copy_check"]["threshold"], rel=1e-6
    )
    for row in ("generated", "real"):
        for name in ("straight_edges", "grain"):
            values = [found["realism"][row]["z"][name] for found in (numbers, result.metrics)]
            assert values[0]["value"] == pytest.approx(values[1]["value"], rel=1e-3), name
    (out / "generated" / "abundances.npy").rename(out / "abundances.npy")
    try:  # the spectra hold them too
        again = measure(out, scene_file)["realism"]["generated"]["spectra"]
    finally:
        (out / "abundances.npy").rename(out / "generated" / "abundances.npy")
    known = numbers["realism"]["generated"]["spectra"]
    assert again["grain"]["value"] == pytest.approx(known["grain"]["value"], rel=0.02)


@pytest.mark.usefixtures("few_figures")
def test_blocks_too_few_or_small_to_be_judged_get_a_note(tmp_path: Path, scene_file: str) -> None:
    one = SampleOptions(samples=1, size=(16, 16), sampler_steps=2)
    result = run_scene(scene_file, tmp_path, model_options=MODEL, sample_options=one)
    assert result.metrics["realism"] is None
    assert (
        "realism: needs at least two blocks of 8 x 8 pixels, got 1 of 16 x 16"
        in (result.metrics["notes"])
    )
    page = result.report.read_text(encoding="utf-8")
    assert "needs at least two blocks" in page
    assert "Do the blocks pass for real?" not in page


def test_generated_cubes_are_of_the_scenes_kind(finished: tuple[Path, RunResult]) -> None:
    out, _ = finished
    cubes = np.load(out / "generated" / "generated.npy")
    assert cubes.shape == (3, 16, 16, 19)  # without the bad band
    maps = np.load(out / "generated" / "abundances.npy")
    assert np.abs(maps.sum(-1) - 1).max() < 1e-6
    one = load_scene(out / "generated" / "cube-002.hdr")
    assert np.allclose(one.cube, cubes[2])
    assert one.wavelengths is not None
    assert one.wavelengths.size == 19
    assert not one.geo


def test_a_simulated_scene_read_from_a_file_keeps_its_name(
    finished: tuple[Path, RunResult],
) -> None:
    assert "generated from field" in (finished[0] / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("few_figures")
@pytest.mark.parametrize("stage", ["Training", "Writing", "Comparing"])
def test_a_run_stopped_anywhere_goes_on_to_the_same_result(
    tmp_path: Path, scene_file: str, finished: tuple[Path, RunResult], stage: str
) -> None:
    options: dict[str, Any] = {"model_options": MODEL, "sample_options": SAMPLES}
    with pytest.raises(KeyboardInterrupt):
        run_scene(scene_file, tmp_path, reporter=Recorder(stop_at=stage), **options)
    assert not (tmp_path / "report.html").exists()
    recorder = Recorder()
    run_scene(scene_file, tmp_path, reporter=recorder, **options)
    done_before = {
        "Writing": ["Training"],
        "Comparing": ["Training", "Generating"],
    }
    for name in done_before.get(stage, []):
        assert not any(s.startswith(name) for s in recorder.stages)
    ours, reference = files(tmp_path), files(finished[0])
    assert {n for n in ours if "figures" not in n} == {n for n in reference if "figures" not in n}
    for name in ours:
        if name.endswith((".npy", ".img", ".safetensors")):
            assert ours[name] == reference[name], name
    assert json.loads(ours["metrics.json"]) == json.loads(reference["metrics.json"])


@pytest.mark.usefixtures("few_figures")
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(
    tmp_path: Path, scene_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"model_options": MODEL, "sample_options": SAMPLES}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("hud_fast.scenes.save_scene", full)
        with pytest.raises(OSError, match="No space left"):
            run_scene(scene_file, tmp_path, **options)
    assert not (tmp_path / "generated").exists()
    assert (tmp_path / "model").is_dir()
    run_scene(scene_file, tmp_path, **options)
    assert (tmp_path / "report.html").is_file()


def test_what_cannot_be_drawn_costs_nothing_else(
    tmp_path: Path,
    scene_file: str,
    finished: tuple[Path, RunResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All else is there and the run is finished; the same command draws what was missing."""

    def figures(*given: Any) -> dict[str, Any]:
        made = {
            name: training_curve([{"step": 1, "loss": 1.0}]) for name in ("panels", "endmembers")
        }
        if broken:
            made["panels"].suptitle("$x_{$", parse_math=True)  # not known before it is rendered
            with drawing("residual_map", given[4]):
                raise ValueError("no such font")
        return made

    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    for name in ("figures/panels.png", "report.html"):
        (out / name).unlink()
    write_json(out / "run.json", {**read_json(out / "run.json"), "status": "running"})
    monkeypatch.setattr("hud_fast.pipeline.run.run_figures", figures)
    options: dict[str, Any] = {"model_options": MODEL, "sample_options": SAMPLES}
    broken = True
    for _ in range(2):
        with pytest.raises(
            NotDrawn, match=r"residual_map: no such font; panels: .*the same command"
        ):
            run_scene(scene_file, out, **options)
        record = read_json(out / "run.json")
        assert record["status"] == "finished"
        assert record["undrawn"].keys() == {"panels", "residual_map"}
        assert (out / "report.html").is_file()
        assert not (out / "figures" / "panels.png").exists()
    broken = False
    run_scene(scene_file, out, **options)
    assert (out / "figures" / "panels.png").is_file()
    with pytest.raises(InputError, match="holds a finished run"):
        run_scene(scene_file, out, **options)


def test_too_small_a_disk_is_told_before_the_training(
    tmp_path: Path, scene_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10_000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(InputError, match=r"has 9.8 KiB free, this run needs about"):
        run_scene(scene_file, tmp_path / "out", model_options=MODEL)
    assert not (tmp_path / "out").exists()


def test_another_scene_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_scene(simulate_scene(36, 36, C=10, D=3, seed=seed), tmp_path / "s.hdr")
        arguments: dict[str, Any] = {"model_options": MODEL, "sample_options": SAMPLES}
        if seed == 0:
            with pytest.raises(KeyboardInterrupt):
                run_scene(
                    str(tmp_path / "s.hdr"), tmp_path / "out", reporter=Recorder("Gen"), **arguments
                )
        else:
            with pytest.raises(InputError, match=r"unfinished run with scene fingerprint = "):
                run_scene(str(tmp_path / "s.hdr"), tmp_path / "out", **arguments)


def test_progress_is_reported_to_its_end(tmp_path: Path, scene_file: str) -> None:
    recorder = Recorder()
    fit_model(scene_file, tmp_path / "m", model_options=MODEL, reporter=recorder)
    assert recorder.progress[-1] == (2, 2)


def test_unusable_input(tmp_path: Path, scene_file: str) -> None:
    with pytest.raises(
        InputError, match=r"--preset must be one of instant, tiny, small, paper, got huge"
    ):
        run_scene(scene_file, tmp_path, model_options=ModelOptions(preset="huge"))
    with pytest.raises(InputError, match=r"--samples must be at least 1, got 0"):
        run_scene(scene_file, tmp_path, sample_options=SampleOptions(samples=0))
    with pytest.raises(InputError, match=r"must be an existing file or a catalogue name"):
        run_scene("nothing.mat", tmp_path)
    with pytest.raises(ValueError, match=r"`endmembers` must be at most 19"):
        run_scene(scene_file, tmp_path, model_options=ModelOptions(endmembers=25, steps=2))
    (tmp_path / "empty.mat").write_bytes(b"")
    with pytest.raises(InputError, match=r"0 bytes"):
        run_scene(str(tmp_path / "empty.mat"), tmp_path / "x")


def test_model_then_cubes_then_numbers(tmp_path: Path, scene_file: str) -> None:
    model = fit_model(scene_file, tmp_path / "model", model_options=MODEL)
    assert not (tmp_path / "model.checkpoints").exists()
    with pytest.raises(InputError, match=r"model exists: .*--overwrite"):
        fit_model(scene_file, tmp_path / "model", model_options=MODEL)
    options = SampleOptions(samples=2, size=(16, 24), sampler_steps=2)
    shape = sample_model(tmp_path / "model", tmp_path / "cubes.npy", options, seed=3)
    cubes = np.load(tmp_path / "cubes.npy")
    assert shape == cubes.shape == (2, 16, 24, model.C)
    np.testing.assert_allclose(
        cubes / model.scene.scale, model.sample(2, seed=3, size=(16, 24), steps=2), rtol=1e-6
    )
    with pytest.raises(InputError, match=r"cubes.npy exists"):
        sample_model(tmp_path / "model", tmp_path / "cubes.npy", options)
    with pytest.raises(InputError, match=r"--format mat needs a folder"):
        sample_model(tmp_path / "model", tmp_path / "b.npy", SampleOptions(format="mat"))
    with pytest.raises(InputError, match=r"HUD.load"):
        sample_model(tmp_path / "no", tmp_path / "b.npy", options)
    folder_options = SampleOptions(samples=2, size=(16, 24), sampler_steps=2, format="envi")
    sample_model(tmp_path / "model", tmp_path / "set", folder_options, seed=3)
    assert np.array_equal(np.load(tmp_path / "set" / "generated.npy"), cubes)
    assert load_scene(tmp_path / "set" / "cube-000.hdr").shape == (16, 24, model.C)
    numbers = measure(tmp_path / "set", scene_file, block=8, json_file=tmp_path / "numbers.json")
    assert json.loads((tmp_path / "numbers.json").read_text()) == numbers
    assert numbers["settings"]["block"] == [8, 8]
    assert numbers["settings"]["endmembers"] is None
    assert numbers["realism"] is None
    assert "realism: needs the model's endmembers" in numbers["notes"][-1]


def test_bands_that_do_not_fit(tmp_path: Path, scene_file: str) -> None:
    np.save(tmp_path / "c.npy", np.ones((1, 8, 8, 20), np.float32))
    with pytest.raises(InputError, match=r"must have the 19 good bands of field, got 20"):
        measure(tmp_path / "c.npy", scene_file)


@pytest.mark.parametrize("encoder", ["fcls", "linear"])
def test_unmixing(tmp_path: Path, scene_file: str, encoder: str) -> None:
    options = ModelOptions(endmembers=3, encoder=encoder)
    numbers = unmix_scene(scene_file, tmp_path / "u", model_options=options)
    assert numbers["reconstruction_cosine"] > 0.99
    maps = np.load(tmp_path / "u" / "abundances.npy")
    assert maps.shape == (70, 40, 3)
    again = load_scene(tmp_path / "u" / "abundances.hdr")
    assert np.allclose(again.cube, maps, equal_nan=True)
    assert again.geo is not None  # the maps lie where the scene lies
    table = np.loadtxt(tmp_path / "u" / "endmembers.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 1:].T, np.load(tmp_path / "u" / "endmembers.npy"), rtol=1e-5)
    assert sorted(p.name for p in (tmp_path / "u" / "figures").iterdir()) == [
        "abundance_maps.png",
        "endmembers.png",
        "residual_map.png",
    ]
    with pytest.raises(InputError, match=r"is not empty: .*--overwrite"):
        unmix_scene(scene_file, tmp_path / "u", model_options=options)
    unmix_scene(scene_file, tmp_path / "u", model_options=options, overwrite=True)


def test_unmixing_replaces_its_own_and_keeps_numbers_without_pictures(
    tmp_path: Path, scene_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "u", ModelOptions(endmembers=3)
    for name in ("figures/endmembers.png", "abundances.mat", "unmixing.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
        with pytest.raises(InputError, match=rf"holds {name}, which no earlier unmix wrote"):
            unmix_scene(scene_file, out, model_options=options, overwrite=True)
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    (out / ".unmixing-hud-fast-ab12_cd3").mkdir()  # of a killed one
    (out / "figures" / ".endmembers-hud-fast-ab12_cd3.png").write_text("half")
    (out / "notes.txt").write_text("mine")
    figure = training_curve([{"step": 1, "loss": 1.0}])
    for name in ("abundance_maps", "residual_map"):
        monkeypatch.setattr(f"hud_fast.report.{name}", lambda *_: figure)

    def fail(*_: Any) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr("hud_fast.report.endmembers", fail)
    with pytest.raises(NotDrawn, match=r"could be drawn \(endmembers: no such font\)"):
        unmix_scene(scene_file, out, model_options=options, overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == [
        "abundances.hdr",
        "abundances.img",
        "abundances.npy",
        "endmembers.csv",
        "endmembers.npy",
        "figures",
        "notes.txt",
        "unmixing.json",
    ]
    drawn = sorted(p.name for p in (out / "figures").iterdir())
    assert drawn == ["abundance_maps.png", "residual_map.png"]


def test_fine_tuned_endmembers_fit_better(
    tmp_path: Path, scene_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hud_fast.pipeline.model.FINE_TUNE_STEPS", 60)
    errors = [
        unmix_scene(
            scene_file,
            tmp_path / str(tune),
            model_options=ModelOptions(endmembers=3, fine_tune=tune),
        )["rmse"]
        for tune in (False, True)
    ]
    assert errors[1] < errors[0]


def test_scene_options_reach_the_reader(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((6, 40))
    np.save(tmp_path / "flat.npy", cube)
    (tmp_path / "nm.txt").write_text("\n".join(str(400 + 10 * i) for i in range(6)))
    options = SceneOptions(layout="CP", shape=(5, 8), wavelengths=str(tmp_path / "nm.txt"))
    scene = options.load(str(tmp_path / "flat.npy"))
    assert scene.shape == (5, 8, 6)
    assert scene.wavelengths is not None


def test_settings_shown_are_those_taken(finished: tuple[Path, RunResult]) -> None:
    from hud_fast.diffusion import HUD

    model = HUD.load(finished[0] / "model")
    shown = shown_settings({"preset": "tiny", "endmembers": None, "sampler": "ddpm"}, model)
    assert shown["endmembers"] == 3
    assert shown["sampler"] == "ddpm"
    assert shown["steps"] == 2
    assert "sampler steps" not in shown  # decided by the sampler, not by the preset


def test_blocks_are_smaller_where_gaps_leave_no_window_of_the_cubes_size() -> None:
    from hud_fast.pipeline.run import _block
    from hud_fast.scenes import Scene

    mask = np.ones((40, 30), bool)
    assert _block(Scene(np.ones((40, 30, 3)), mask=mask), (16, 16)) == (None, [])
    mask[::10] = False  # runs of nine rows; each half has two
    block, notes = _block(Scene(np.ones((40, 30, 3)), mask=mask), (16, 16))
    assert block == (9, 9)
    assert notes == [
        "block diversity: in blocks of 9 x 9 pixels, the scene has no window of 16 x 16 valid ones"
    ]
