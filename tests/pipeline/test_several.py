"""One model of several scenes, and a training that starts from another's, on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from launch import launch
from test_cli import refused

from hud_fast import cli
from hud_fast.diffusion import HUD, AbundanceModel
from hud_fast.scenes import save_scene, simulate_scene

SMALL = ["--steps", "2", "--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two scenes of 3 endmembers and one of 4, of different bands and sizes."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for name, H, W, C, D in (
        ("east", 40, 33, 20, 3),
        ("west", 36, 50, 31, 3),
        ("four", 34, 34, 25, 4),
    ):
        paths.append(str(folder / f"{name}.mat"))
        save_scene(simulate_scene(H, W, C=C, D=D, seed=C), paths[-1])
    return paths


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, files: list[str]) -> Path:
    out = tmp_path_factory.mktemp("models") / "both"
    assert cli.main(["fit", *files[:2], "--endmembers", "3", "--out", str(out), *SMALL]) == 0
    return out


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_model_folder_of_each_scene_and_what_they_share(both: Path, tmp_path: Path) -> None:
    assert names(both) == ["abundance-model", "east", "west"]
    assert names(both.parent) == ["both"], "no checkpoints, no temporary folders"
    assert AbundanceModel.load(both / "abundance-model").scenes == ("east", "west")
    for name, bands in (("east", 20), ("west", 31)):
        cubes = tmp_path / f"{name}.npy"
        sample = ["sample", str(both / name), "--out", str(cubes), "-n", "2", "--size", "16"]
        assert cli.main([*sample, "--sampler-steps", "2", "--device", "cpu"]) == 0
        assert np.load(cubes).shape == (2, 16, 16, bands)


def test_what_is_said(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m"
    arguments = ["fit", files[1], files[1], "--endmembers", "3", "--out", str(out), *SMALL]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert f"Model: {out / 'west-2'} (3 endmembers, 31 bands)." in shown.out
    assert f"Next: hud-fast sample {out / 'west'} --out cubes" in shown.out
    assert "Training one diffusion model of 2 scenes (2 steps): done in" in shown.err
    assert "exists: choose another --out" in refused(capsys, *arguments)
    assert cli.main([*arguments, "--overwrite"]) == 0
    (out / "thesis.tex").write_text("years")
    assert "holds other files (thesis.tex)" in refused(capsys, *arguments, "--overwrite")
    assert (out / "west" / "config.json").is_file()


def test_start_from(both: Path, files: list[str], tmp_path: Path) -> None:
    """From the shared file, from a scene's own, from the folder of all: the same first weights."""
    settings = []
    for number, folder in enumerate([both / "abundance-model", both / "west", both]):
        out = tmp_path / str(number)
        fit = ["fit", files[2], "--start-from", str(folder), "--out", str(out), *SMALL]
        assert cli.main(fit) == 0
        settings.append(HUD.load(out, device="cpu"))
    fresh = tmp_path / "fresh"
    assert cli.main(["fit", files[2], "--endmembers", "3", "--out", str(fresh), *SMALL]) == 0
    cubes = [model.sample(1, size=16, steps=2) for model in settings]
    assert settings[0].D == 3, "as many endmembers as the model has, not the scene's four"
    np.testing.assert_array_equal(cubes[0], cubes[1])
    np.testing.assert_array_equal(cubes[0], cubes[2])
    other = HUD.load(fresh, device="cpu").sample(1, size=16, steps=2)
    assert not np.array_equal(cubes[0], other)


def test_a_run_may_start_from_a_model(both: Path, files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    few = ["--samples", "2", "--size", "16", "--sampler-steps", "2"]
    start = ["--start-from", str(both)]
    assert cli.main(["run", files[1], "--out", str(out), *SMALL, *few, *start]) == 0
    assert json.loads((out / "run.json").read_text())["settings"]["start"] == str(both)
    assert "started from" in (out / "report.html").read_text()


def test_mistakes(
    both: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*arguments: str) -> str:
        out = tmp_path / "out"
        text = refused(capsys, "fit", *arguments, "--out", str(out), *SMALL)
        assert not out.exists()
        return text

    counts = fit(files[0], files[2])
    cubes = str(tmp_path / "cubes")
    which = refused(capsys, "sample", str(both), "--out", cubes, "--device", "cpu")
    assert which.endswith("both; what it holds in folders: east, west")
    assert "--endmembers must be given: the scenes' own numbers differ" in counts
    assert "--mask is of one scene, got 2 scenes" in fit(*files[:2], "--mask", "mask.npy")
    assert "--start-from: HUD.fit: `start` must be the folder of a model" in fit(
        files[0], "--start-from", str(tmp_path)
    )
    assert "`endmembers` = 4 as this training has, got one with 3" in fit(
        files[0], "--endmembers", "4", "--start-from", str(both)
    )
    assert "`widths` = (64, 128, 128) as this training has, got one with (32, 64, 64)" in fit(
        files[0], "--preset", "small", "--start-from", str(both)
    )
    damaged = tmp_path / "damaged"
    shutil.copytree(both / "abundance-model", damaged)
    network = damaged / "network.safetensors"
    network.write_bytes(network.read_bytes()[:-1])
    assert "is damaged" in fit(files[0], "--start-from", str(damaged))


def test_a_failure_while_writing_leaves_nothing(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second model's folder cannot be written: the first does not appear either."""
    saved: list[Path] = []
    save = HUD.save

    def broken(self: HUD, folder: Path) -> None:
        saved.append(folder)
        if len(saved) == 2:
            raise OSError("no more room")
        save(self, folder)

    monkeypatch.setattr(HUD, "save", broken)
    out = tmp_path / "m"
    assert cli.main(["fit", *files[:2], "--out", str(out), *SMALL]) == 1
    assert len(saved) == 2
    assert names(tmp_path) == ["m.checkpoints"]
    monkeypatch.setattr(HUD, "save", save)
    assert cli.main(["fit", *files[:2], "--out", str(out), *SMALL]) == 0
    assert names(tmp_path) == ["m"]


@pytest.mark.slow
def test_two_processes_train_several_scenes_as_one_does(files: list[str], tmp_path: Path) -> None:
    """Each takes half of every batch, with its windows' scenes; the first one writes."""
    small = ["widths=8,8", "attention=no,no", "groups=4", "crop=16", "log_every=1"]
    fit = ["fit", *files[:2], "--endmembers", "3", *SMALL, "--steps", "3"]
    fit += [word for setting in small for word in ("--set", setting)]
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert cli.main([*fit, "--out", one]) == 0
    for done in launch("-m", "hud_fast", *fit, "--out", two):
        assert done.code == 0, done.err
    assert names(Path(two)) == ["abundance-model", "east", "west"]
    assert names(tmp_path) == ["one", "two"]
    a, b = (HUD.load(Path(out, "west"), device="cpu").history for out in (one, two))
    assert len(a) == 3
    np.testing.assert_allclose([e["loss"] for e in a], [e["loss"] for e in b], rtol=1e-5)
