"""Own spectra through the commands: for endmembers, among them, as the truth; and the spectra written back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spectral.io import envi

from hud_fast import cli
from hud_fast.pipeline import (
    InputError,
    ModelOptions,
    SceneOptions,
    extract_endmembers,
    unmix_scene,
)
from hud_fast.pipeline.model import find_endmembers, named_endmembers
from hud_fast.pipeline.progress import Reporter
from hud_fast.scenes import Library, Scene, load_scene, read_library, save_scene, simulate_scene

NAMES = ("dry soil", "water", "green tree")
GEO = {"map info": "{UTM, 1, 1, 500000, 4500000, 30, 20, 11, North, WGS-84, units=Meters}"}


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hud_fast.pipeline.unmix._draw", lambda *_: {})


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Three spectra, mixed without noise, each pure somewhere; in integers of 1e4 on the disk."""
    scene = simulate_scene(24, 20, C=30, D=3, snr_db=np.inf, seed=2)
    assert scene.truth is not None
    assert (scene.truth.abundances.max(axis=(0, 1)) == 1).all()
    return scene.replace(name="field", geo=GEO)


@pytest.fixture(scope="module")
def files(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as an ENVI file of 1e4, as an .npz with its truth, and its spectra as .sli."""
    folder = tmp_path_factory.mktemp("own")
    assert scene.truth is not None
    save_scene(scene.replace(cube=1e4 * scene.cube, truth=None), folder / "field.hdr")
    save_scene(scene, folder / "known.npz")
    library = Library(scene.truth.endmembers, NAMES, scene.wavelengths)
    library.save(folder / "soils.sli")
    library.replace(spectra=library.spectra[1:2], names=("river",)).save(folder / "water.csv")
    return folder


def abundances(scene: Scene) -> Any:
    assert scene.truth is not None
    return scene.truth.abundances


def test_unmixing_with_a_library(files: Path, scene: Scene, tmp_path: Path) -> None:
    job = ["unmix", str(files / "field.hdr"), "--endmembers", str(files / "soils.sli")]
    assert cli.main([*job, "--scale", "10000", "--out", str(tmp_path / "maps")]) == 0
    found = np.load(tmp_path / "maps" / "abundances.npy")
    assert np.abs(found - abundances(scene)).max() < 1e-5
    with (tmp_path / "maps" / "endmembers.csv").open() as file:
        assert next(csv.reader(file)) == ["wavelength_nm", *NAMES]
    numbers = json.loads((tmp_path / "maps" / "unmixing.json").read_text())
    assert numbers["names"] == list(NAMES)
    assert numbers["method"] == "fcls"
    # the folder's spectra again, by another method, into the same place
    job = ["unmix", str(files / "field.hdr"), "--endmembers", str(tmp_path / "maps")]
    more = ["--scale", "10000", "--method", "ucls", "--out", str(tmp_path / "again")]
    assert cli.main([*job, *more]) == 0
    again = np.load(tmp_path / "again" / "abundances.npy")
    assert np.abs(again - abundances(scene)).max() < 1e-5
    assert read_library(tmp_path / "again").names == NAMES
    assert cli.main([*job, *more, "--overwrite"]) == 0


def test_a_scaled_scene_is_told(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--endmembers"], ["--endmembers", "3", "--keep"]):
        job = ["unmix", str(files / "field.hdr"), *option, str(files / "soils.sli")[:-4] + ".hdr"]
        if option[-1] == "--keep":
            job[-1] = str(files / "water.csv")
        assert cli.main([*job, "--out", str(tmp_path / "out")]) == 2
        text = capsys.readouterr().err
        assert f"Error: {option[-1]}: unmix: `endmembers` must be in the unit of the scene" in text
        assert "the scene looks scaled by 10000" in text
        assert "--scale 10000 of hud-fast" in text
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["field.hdr", "known.npz"])
def test_endmembers_beside_kept_ones(files: Path, scene: Scene, source: str) -> None:
    options = ModelOptions(endmembers=3, keep=str(files / "water.csv"), device="cpu")
    scale = 1e4 if source == "field.hdr" else None
    read = SceneOptions(scale=scale).load(str(files / source))
    found = named_endmembers(read, options, Reporter())
    assert found.names == ("river", "endmember_2", "endmember_3")
    assert scene.truth is not None
    known = scene.truth.endmembers
    np.testing.assert_allclose(found.spectra[0], known[1], rtol=1e-5)
    rest = sorted(found.spectra[1:].tolist())
    np.testing.assert_allclose(rest, sorted(known[[0, 2]].tolist()), rtol=1e-4)


@pytest.mark.parametrize("preset", ["instant"])
def test_a_model_is_made_of_a_librarys_spectra(files: Path, tmp_path: Path, preset: str) -> None:
    job = ["fit", str(files / "known.npz"), "--endmembers", str(files / "soils.sli")]
    more = ["--preset", preset, "--set", "crop=16", "--device", "cpu", "--threads", "1"]
    assert cli.main([*job, *more, "--out", str(tmp_path / "model")]) == 0
    model = read_library(tmp_path / "model")
    known = read_library(files / "soils.sli")
    np.testing.assert_allclose(model.spectra, known.spectra, rtol=1e-6)
    scene = SceneOptions().load(str(files / "known.npz"))
    again = find_endmembers(scene, ModelOptions(library=str(tmp_path / "model")), Reporter())
    assert np.array_equal(again, model.spectra.astype(np.float32))


def test_writing_a_scenes_endmembers(
    files: Path, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["endmembers", str(files / "field.hdr"), "--scale", "1e4", "--count", "3"]
    out = tmp_path / "em.sli"
    assert cli.main([*job, "--truth", str(files / "soils.sli"), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "mean SAD 0.0" in text
    opened = envi.open(str(tmp_path / "em.hdr"))
    assert sorted(opened.names) == sorted(NAMES)
    again = load_scene(files / "field.hdr", scale=1e4)
    with (tmp_path / "em-positions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == opened.names
    for row, spectrum in zip(rows, opened.spectra, strict=True):
        i, j = int(row["row"]), int(row["column"])
        assert np.array_equal(again.cube[i, j], spectrum.astype(np.float32))
        # the file's: 30 m wide, 20 m high, from the upper left corner
        assert float(row["x"]) == 500000 + 30 * (j + 0.5)
        assert float(row["y"]) == 4500000 - 20 * (i + 0.5)
        share = abundances(scene)[..., NAMES.index(row["name"])]
        assert float(row["mean_abundance"]) == pytest.approx(share.mean(), abs=1e-4)
        most = (share >= abundances(scene).max(axis=-1)).mean()
        assert float(row["dominant_share"]) == pytest.approx(most, abs=0.01)
    assert cli.main([*job, "--out", str(out)]) == 2
    assert "em.sli exists: choose another --out" in capsys.readouterr().err
    for suffix in (".csv", ".npy"):
        made = extract_endmembers(
            str(files / "known.npz"),
            tmp_path / f"other{suffix}",
            model_options=ModelOptions(endmembers=3, keep=str(files / "water.csv"), device="cpu"),
            overwrite=True,
        )
        assert made["endmembers"][0]["row"] is None
        assert made["endmembers"][1]["row"] is not None
        assert read_library(tmp_path / f"other{suffix}").D == 3
    # its abundances are known, too
    assert made["truth"]["armse_percent"] < 0.1
    assert made["endmembers"][1]["name"] == "endmember_2"


def test_unmixing_against_a_truth(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = unmix_scene(
        str(files / "field.hdr"),
        tmp_path / "maps",
        model_options=ModelOptions(endmembers=3, device="cpu"),
        scene_options=SceneOptions(scale=1e4),
        truth=str(files / "soils.sli"),
        method="nnls",
    )
    assert sorted(numbers["names"]) == sorted(NAMES)
    assert numbers["truth"]["mean_sad_degrees"] < 0.1
    assert "armse_percent" not in numbers["truth"]
    truth = ["--truth", str(files / "known.npz"), "--scale", "1e4", "--endmembers", "3"]
    job = ["unmix", str(files / "field.hdr"), "--out", str(tmp_path / "two"), *truth]
    assert cli.main(job) == 0
    assert "aRMSE 0.0" in capsys.readouterr().out


def test_more_spectra_than_bands(files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.random.default_rng(0).uniform(0.1, 1, (31, 30)))
    options = ModelOptions(library=str(tmp_path / "many.npy"))
    with pytest.raises(InputError, match=r"at most as many as the scene's bands, C = 30, got 31"):
        unmix_scene(str(files / "known.npz"), tmp_path / "out", model_options=options)


MISTAKES = [
    (
        ["--endmembers", "nothing.sli"],
        r"--endmembers: read_library: `path` must be a file or folder",
    ),
    (
        ["--endmembers", "soil"],
        r"--endmembers must be a number from 1 or auto, or a file or folder",
    ),
    (["--keep", "WATER"], r"--keep needs --endmembers D, .*, got auto"),
    (["--keep", "WATER", "--endmembers", "1"], r"must be more than the 1 that --keep gives"),
    (["--keep", "WATER", "--endmembers", "3", "--fine-tune"], r"--keep leaves endmembers as they"),
    (["--truth", "nothing.sli", "--endmembers", "3"], r"--truth: read_library: `path` must be"),
    (["--scale", "0"], r"--scale must be a number above 0, or auto, got 0"),
    (["--scale", "big"], r"--scale must be a number above 0, or auto, got big"),
    (["--method", "lasso"], r"Invalid value for '--method'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes(
    files: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    arguments = [a.replace("WATER", str(files / "water.csv")) for a in arguments]
    job = ["unmix", str(files / "known.npz"), "--out", str(tmp_path / "out")]
    assert cli.main([*job, *arguments]) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "out").exists()
