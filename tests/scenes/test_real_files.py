"""Every real scene at hand loads by its path alone, and what comes with it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import real_data_dir
from numpy.lib.stride_tricks import sliding_window_view
from scipy.io import loadmat

from hud_fast.pipeline.evaluate import split
from hud_fast.scenes import load_scene, save_scene
from hud_fast.scenes.fetch import at_hand

FOLDER = real_data_dir()
WITHOUT_CUBE = {
    "Indian_pines_gt", "end4", "spectral_library_jasperRidge", "M0_cuprite", "USGS_1995_Library",
    "PaviaU_endmembers", "PaviaU_gt", "Salinas_endmembers", "Salinas_gt", "end3",
    "spectral_library_samson", "spectral_library_urban", "pavia_centre_crop_105x120_anomalies",
    "salinas_crop_126x150_altered",
}  # fmt: skip
FILES = sorted(FOLDER.rglob("*.mat")) if FOLDER is not None else []
CUBES = [file for file in FILES if file.stem not in WITHOUT_CUBE]
REST = [file for file in FILES if file.stem in WITHOUT_CUBE]


def stem(path: Path) -> str:
    return path.stem


needs_data = pytest.mark.skipif(FOLDER is None, reason="no real scenes here: set HUD_FAST_DATA")


@needs_data
@pytest.mark.parametrize("path", REST, ids=stem)
def test_files_without_a_cube(path: Path) -> None:
    with pytest.raises(ValueError, match="`path` must hold a cube"):
        load_scene(path)


@needs_data
@pytest.mark.parametrize("path", CUBES, ids=stem)
def test_by_path_alone(path: Path, tmp_path: Path) -> None:
    scene = load_scene(path)
    largest = max(
        (value for value in loadmat(path).values() if isinstance(value, np.ndarray)),
        key=lambda value: value.size if value.dtype.kind in "fiu" and value.shape[-1] > 4 else 0,
    )
    assert scene.cube.size == largest.size
    total = float(np.nansum(largest.astype(np.float64)))
    assert np.nansum(scene.cube, dtype=np.float64) == pytest.approx(total, rel=1e-6)
    assert (~scene.valid).sum() == (185 if path.stem == "salinas_crop_126x150" else 0)
    assert scene.dtype == largest.dtype
    assert scene.rgb().std() > 20  # a picture, not a flat field
    # the same kind of file gives the same scene again
    again = load_scene(save_scene(scene, tmp_path / path.name))
    np.testing.assert_array_equal(again.cube, scene.cube)
    assert (again.variable, again.dtype, again.name) == (scene.variable, scene.dtype, scene.name)


@needs_data
@pytest.mark.parametrize("path", CUBES, ids=stem)
def test_as_envi_and_back(path: Path, tmp_path: Path) -> None:
    scene = load_scene(path)
    again = load_scene(save_scene(scene, tmp_path / "a.hdr"))
    np.testing.assert_array_equal(again.valid, scene.valid)  # ENVI has no mask but values
    np.testing.assert_array_equal(again.valid_pixels, scene.valid_pixels)
    assert again.dtype is not None
    assert again.dtype.newbyteorder("=") == scene.dtype
    if scene.wavelengths is None:
        assert again.wavelengths is None
    else:
        assert again.wavelengths is not None
        np.testing.assert_allclose(again.wavelengths, scene.wavelengths, rtol=1e-9)
    np.testing.assert_array_equal(again.good_bands, scene.good_bands)  # type: ignore[arg-type]


def test_samson_lines_up_with_its_abundances(data_dir: Path) -> None:
    """Water's map correlates with darkness only if the pixels are in MATLAB's order."""
    scene = load_scene(data_dir / "samson" / "samson_1.mat")
    water = loadmat(data_dir / "samson" / "end3.mat")["A"][2].reshape(95, 95, order="F")
    dark = scene.cube.mean(-1)
    assert np.corrcoef(water.ravel(), dark.ravel())[0, 1] < -0.7
    assert abs(np.corrcoef(water.T.ravel(), dark.ravel())[0, 1]) < 0.5  # the wrong order
    assert (scene.name, scene.endmember_count, scene.shape) == ("samson", 3, (95, 95, 156))


def test_salton_sea_s_wavelengths_and_bad_bands(data_dir: Path) -> None:
    scene = load_scene(data_dir / "salton_sea" / "salton_sea_roi.mat")
    assert scene.wavelengths is not None
    assert scene.wavelengths[[0, -1]] == pytest.approx([365.9, 2496.2], abs=0.1)
    assert scene.good_bands is not None
    assert scene.good_bands.sum() == 204
    dropped = scene.drop_bad_bands()
    assert dropped.C == 204
    assert np.isfinite(dropped.cube).all()


def test_pavia_s_wavelengths_and_abu_s_map(data_dir: Path) -> None:
    pavia = load_scene(data_dir / "pavia_university" / "reg_pavia_dataset.mat")
    assert pavia.wavelengths is not None
    assert pavia.wavelengths[[0, -1]] == pytest.approx([430.0, 860.0])
    abu = load_scene(data_dir / "abu" / "abu-urban-1.mat")
    assert abu.labels is not None
    assert set(np.unique(abu.labels)) == {0, 1}


def test_indian_pines_is_recognised(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUD_FAST_DATA", raising=False)
    path = data_dir / "indian_pines" / "Indian_pines_corrected.mat"
    scene = load_scene(path)
    assert scene.name == "indian-pines"
    assert scene.wavelengths is not None
    assert scene.wavelengths.shape == (200,)
    assert scene.rgb_bands == (45, 16, 10)
    assert scene.labels is not None  # from the file beside it
    assert (np.bincount(scene.labels.ravel())[:3] == [10776, 46, 1428]).all()
    assert scene.label_names is not None
    assert scene.label_names[13] == "Woods"
    alone = tmp_path / "renamed.mat"
    alone.write_bytes(path.read_bytes())
    moved = load_scene(alone)
    assert moved.wavelengths is not None
    assert moved.labels is None


@pytest.mark.parametrize(
    "key", ["salinas-crop", "salinas-a", "pavia-crop", "pavia-university-crop"]
)
def test_crops_by_name_have_room_for_two_halves(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """No network is asked; the halves hold whole 32 x 32 windows beside the altered pixels."""
    monkeypatch.setenv("HUD_FAST_DATA", str(data_dir))
    assert at_hand(key)
    halves = split(load_scene(key), (32, 32))
    for half in (halves.training, halves.held_out):
        assert sliding_window_view(half.valid, (32, 32)).all(axis=(2, 3)).sum() >= 600


@pytest.mark.parametrize("cut", [1, 1000, 500_000])
def test_truncated_real_file(data_dir: Path, tmp_path: Path, cut: int) -> None:
    data = (data_dir / "indian_pines" / "Indian_pines_corrected.mat").read_bytes()
    path = tmp_path / "cut.mat"
    path.write_bytes(data[:-cut])
    with pytest.raises(OSError, match=r"must be a whole .mat file, got a broken one"):
        load_scene(path)
