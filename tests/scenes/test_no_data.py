"""Pixels without data, declared or not, on file values; spoilt pixels; one count everywhere."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.diffusion.preparation import choose_endmembers
from hud_fast.kernels import fcls
from hud_fast.scenes import Scene, load_scene, save_scene, simulate_scene
from hud_fast.scenes.load import open_scene
from hud_fast.scenes.no_data import Scan
from hud_fast.unmixing import unmixing_summary

CUBE = (simulate_scene(30, 34, C=12, D=4, seed=3).cube * 10000).round()
ROW, COLUMN = np.mgrid[:30, :34]
BORDER = (ROW + COLUMN < 14) | (ROW + COLUMN > 50)


def stored(path: Path, value: float, dtype: str, where: NDArray[np.bool_] = BORDER) -> Path:
    cube = CUBE.astype(dtype)
    cube[where] = value
    np.save(path / "a.npy", cube)
    return path / "a.npy"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (0, "float32"), (0, "uint16"), (-9999, "int16"), (-9999, "float64"), (-32768, "int16"), (65535, "uint16"),
        (1e34, "float32"), (-1.23e34, "float64"), (55, "uint16"), (-0.5, "float32"),
    ],
)  # fmt: skip
def test_a_border_of_one_number_is_found_and_told(tmp_path: Path, value: float, dtype: str) -> None:
    path = stored(tmp_path, value, dtype)
    held = np.asarray(value).astype(dtype).item()
    told = rf"^{BORDER.sum()} pixels hold {held:.10g} in every band: taken as no data; `--no-data none` keeps them"
    with pytest.warns(UserWarning, match=told.replace("+", r"\+")):
        scene = load_scene(path, layout="HWC")
    np.testing.assert_array_equal(scene.valid, ~BORDER)
    assert scene.ignore_value == held
    assert load_scene(path, layout="HWC", no_data="none").valid.all()
    declared = load_scene(path, layout="HWC", no_data=held) if value else None
    if declared is not None:  # declared: nothing to tell
        np.testing.assert_array_equal(declared.valid, ~BORDER)


def test_rows_and_a_whole_scene_leave_out_the_same(tmp_path: Path) -> None:
    file = open_scene(stored(tmp_path, -9999, "int16"), layout="HWC")
    with pytest.warns(UserWarning, match="hold -9999"):
        parts = [values for _, values in file.blocks(7)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        scene = file.load()
    rows = np.concatenate(parts)
    np.testing.assert_array_equal(np.isnan(rows).all(axis=-1), ~scene.valid)
    np.testing.assert_array_equal(rows[scene.valid], scene.cube[scene.valid])


def test_a_mask_that_knows_them_already_says_nothing(tmp_path: Path) -> None:
    scene = load_scene(stored(tmp_path, 0, "float32"), layout="HWC", mask=~BORDER)
    np.testing.assert_array_equal(scene.valid, ~BORDER)


@pytest.mark.parametrize("spread", [0, 1, 2])
def test_numbers_that_ground_can_have_are_data(tmp_path: Path, spread: int) -> None:
    cube = CUBE.astype(np.int16)
    if spread == 0:  # seven pixels are chance
        cube[0, :7] = 55
    elif spread == 1:  # dark ground in coarse numbers: alike by chance, of several numbers
        cube[:8] = (ROW[:8] % 3 + 1)[..., None]
    else:  # nothing else is left
        cube[:] = 3
    np.save(tmp_path / "a.npy", cube)
    assert load_scene(tmp_path / "a.npy", layout="HWC").valid.all()


def test_one_pixel_of_zeros(tmp_path: Path) -> None:
    path = stored(tmp_path, 0, "float32", (ROW == 3) & (COLUMN == 4))
    with pytest.warns(UserWarning, match="^1 pixel holds 0 in every band: .* keeps it"):
        assert np.argwhere(~load_scene(path, layout="HWC").valid).tolist() == [[3, 4]]


def test_a_declared_value_with_gains_and_whole_bands() -> None:
    values = CUBE.astype(np.int16)
    values[BORDER] = -9999
    values[..., 5] = -9999  # a band without data
    values[20, 20, 3] = -9999  # no sensor's value
    scan = Scan(values.shape, values.dtype, declared=-9999.0)
    for start in range(0, 30, 8):
        scan.feed(start, values[start : start + 8])
    found = scan.result()
    wanted = BORDER.copy()
    wanted[20, 20] = True
    assert found.missing is not None
    np.testing.assert_array_equal(found.missing, wanted)
    assert np.flatnonzero(found.empty).tolist() == [5]
    assert found.found == {}


def test_a_huge_value_written_with_few_digits() -> None:
    values = CUBE.astype(np.float32)
    values[2, 3] = np.finfo(np.float32).min
    scan = Scan(values.shape, values.dtype, declared=-3.40282e38, search=False)
    scan.feed(0, values)
    missing = scan.result().missing
    assert missing is not None
    assert np.argwhere(missing).tolist() == [[2, 3]]


def test_a_number_that_is_not_there(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.warns(UserWarning, match="no pixel is left out by `no_data` = -77"):
        assert load_scene(tmp_path / "a.npy", layout="HWC", no_data=-77).valid.all()
    for wrong in ("nothing", True, [0], None):
        value: Any = wrong
        with pytest.raises(TypeError, match="`no_data` must be a number, 'auto' or 'none', got"):
            load_scene(tmp_path / "a.npy", layout="HWC", no_data=value)


@pytest.mark.parametrize("zeros_are_data", [False, True])
def test_pixels_of_zeros_count_the_same_everywhere(zeros_are_data: bool, tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[BORDER] = 0
    scene = Scene(cube, zeros_are_data=zeros_are_data)
    A = choose_endmembers(scene, 3, seed=0)
    X = fcls(scene.cube, A)
    summary = unmixing_summary(
        scene.cube, A, X, mask=scene.valid, zeros_are_data=scene.zeros_are_data
    )
    lost = 0 if zeros_are_data else int(BORDER.sum())
    assert int((~scene.valid).sum()) == summary["left_out"] == lost
    assert A.any(axis=1).all()  # none of them is an endmember
    again = load_scene(save_scene(scene, tmp_path / "a.npz"), no_data=0 if lost else "auto")
    np.testing.assert_array_equal(again.valid, scene.valid)
    np.testing.assert_array_equal(again.cube, scene.cube)
    np.testing.assert_array_equal(
        load_scene(save_scene(scene, tmp_path / "a.hdr"), no_data=0 if lost else "none").cube,
        scene.cube,
    )


def test_fewer_bands_than_three_may_be_zero() -> None:
    assert Scene(np.zeros((3, 3, 2))).valid.all()
    assert not Scene(np.zeros((3, 3, 3))).valid.any()
    assert Scene(np.zeros((3, 3, 3)), good_bands=[True, True, False]).valid.all()


def test_saturated_pixels_are_no_endmembers() -> None:
    cube = CUBE.copy()
    some = cube[4, 5:10]
    bright = np.linspace(1.2, 2.0, 5)[:, None] / some.max(axis=1, keepdims=True)
    cube[4, 5:10] = np.minimum(some * bright * CUBE.max(), CUBE.max() * 1.1)
    cut = np.zeros(BORDER.shape, bool)
    cut[4, 5:10] = (cube[4, 5:10] == np.float32(cube.max())).sum(axis=-1) >= 2
    assert cut.sum() >= 3
    scene = Scene(cube)
    np.testing.assert_array_equal(scene.valid & ~scene.sound, cut)
    with pytest.warns(
        UserWarning, match=f"^{cut.sum()} pixels are saturated or have dropped bands"
    ):
        A = choose_endmembers(scene, 4, seed=0)
    assert not (A[:, None] == cube[cut]).all(axis=-1).any()
    assert Scene(CUBE).sound.all()


def test_a_dropped_band_is_no_dark_one() -> None:
    cube = CUBE + 500
    cube[3, 4, 5:7] = 0
    dark = cube.copy()
    dark[..., 5:7] = np.maximum(0, dark[..., 5:7] - np.median(dark[..., 5:7]))  # often 0 there
    assert np.argwhere(~Scene(cube).sound).tolist() == [[3, 4]]
    assert Scene(dark).sound.all()


def test_pavia_s_saturated_pixels(data_dir: Path) -> None:
    scene = load_scene(data_dir / "pavia_university" / "paviaU_crop_140x80_with_labels.mat")
    at_ceiling = (scene.cube == 8000).sum(axis=-1)
    np.testing.assert_array_equal(~scene.sound, at_ceiling >= 2)
    with pytest.warns(UserWarning, match="4 pixels are saturated"):
        A = choose_endmembers(scene, 9, seed=0)
    assert A.max() < 8000
    torch.testing.assert_close(torch.from_numpy(A), torch.from_numpy(A).clamp_min(0))


@pytest.mark.parametrize(
    "name",
    ["salinas/salinas_crop_126x150", "pavia_centre/pavia_centre_crop_105x120", "abu/abu-beach-2", "urban/hydice",
     "samson/samson_1", "jasper_ridge/jasperRidge2_R198"],
)  # fmt: skip
def test_real_scenes_without_a_fault(name: str, data_dir: Path) -> None:
    scene = load_scene(data_dir / f"{name}.mat")
    np.testing.assert_array_equal(scene.sound, scene.valid)
    assert int((~scene.valid).sum()) == (185 if "salinas" in name else 0)
