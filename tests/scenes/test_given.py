"""What users give as a cube: band first, with named axes, tensors of any kind."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import hud_fast as hud
from hud_fast.scenes import Scene, simulate_scene
from hud_fast.scenes.layout import guess_layout

CUBE = simulate_scene(40, 36, C=30, D=4, smoothness=4, seed=0).cube


class Named:
    """What matters of xarray: dims and __array__."""

    def __init__(self, a: np.ndarray, dims: tuple[str, ...]) -> None:
        self.a, self.dims, self.shape = a, dims, a.shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.asarray(self.a, dtype)


@pytest.mark.parametrize("take", [np.asarray, torch.from_numpy, np.asfortranarray])
@pytest.mark.parametrize("order", ["CHW", "HCW"])
def test_a_cube_whose_bands_lie_elsewhere_is_asked_about(take, order: str) -> None:
    turned = take(CUBE.transpose(["HWC".index(axis) for axis in order]))
    with pytest.raises(ValueError, match=rf"^Scene: `layout` must be given .* like {order}"):
        Scene(turned)
    scene = Scene(turned, layout=order.lower())
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.layout == "HWC"
    assert Scene(turned, layout="HWC").shape == turned.shape


@pytest.mark.parametrize("make", [Scene, hud.HUD.fit])
def test_so_it_is_by_all_who_take_cubes(make, tmp_path: Path) -> None:
    for call in (make, lambda cube: hud.save_scene(cube, tmp_path / "a.hdr")):
        with pytest.raises(ValueError, match="`layout` must be given"):
            call(CUBE.transpose(2, 0, 1))


def test_what_else_is_known_settles_it() -> None:
    turned = np.ascontiguousarray(CUBE.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r'C = 30 .*got \(30, 40, 36\): say layout="CHW"'):
        Scene(turned, wavelengths=np.arange(30) + 400)
    assert Scene(turned, good_bands=np.ones(36, bool)).C == 36
    assert Scene(turned, mask=np.ones((30, 40), bool)).C == 36


def test_scenes_made_from_scenes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Scene(CUBE.transpose(2, 0, 1), layout="HWC")
    monkeypatch.setattr("hud_fast.scenes.layout.sampled", lambda _: pytest.fail("looked at"))
    odd.crop(slice(0, 25), slice(0, 30)).replace(name="b").drop_bad_bands()
    odd.replace(good_bands=np.arange(36) > 2).drop_bad_bands()
    simulate_scene(30, 30, C=30, D=3)


@pytest.mark.parametrize(
    "shape", [(40, 36, 30), (12, 64, 64), (64, 64, 12), (64, 12, 64), (3, 20, 20)]
)
@pytest.mark.parametrize("kind", ["noise", "flat", "ramp", "nan"])
def test_values_without_structure_are_no_evidence(shape: tuple[int, int, int], kind: str) -> None:
    rng = np.random.default_rng(0)
    cube = {
        "noise": lambda: rng.random(shape),
        "flat": lambda: np.ones(shape),
        "ramp": lambda: np.arange(np.prod(shape), dtype=float).reshape(shape),
        "nan": lambda: np.full(shape, np.nan),
    }[kind]()
    assert guess_layout("f", cube) == "HWC"


def few(axis: int) -> np.ndarray:
    cube = simulate_scene(64, 60, C=12, D=4, smoothness=3, seed=1).cube
    return np.moveaxis(cube, 2, axis)


@pytest.mark.parametrize(("axis", "order"), [(0, "CHW"), (1, "HCW")])
def test_few_bands_first_are_warned_of(axis: int, order: str, tmp_path: Path) -> None:
    words = f"`layout` was not given .* look like {order}"
    with pytest.warns(UserWarning, match="^Scene: " + words):
        Scene(few(axis))
    np.save(tmp_path / "few.npy", few(axis))
    with pytest.warns(UserWarning, match="^load_scene: " + words):
        hud.load_scene(tmp_path / "few.npy")
    assert hud.load_scene(tmp_path / "few.npy", layout=order).shape == (64, 60, 12)


def test_a_narrow_scene_band_first_is_warned_of() -> None:
    narrow = simulate_scene(50, 12, C=40, D=4, smoothness=3, seed=2).cube
    Scene(narrow)
    with pytest.warns(UserWarning, match="look like CHW"):
        Scene(narrow.transpose(2, 0, 1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("smoothness", [0, 2, 10])
def test_scenes_of_a_few_rows_or_bands_are_as_they_are_by_convention(
    seed: int, smoothness: int
) -> None:
    cube = simulate_scene(60, 48, C=40, D=2 + seed, smoothness=smoothness, seed=seed).cube
    for part in (
        cube[:12],
        cube[:, :9],
        cube[..., ::5],
        cube[:25, :25],
        cube[:5, :30],
        cube[..., :3],
    ):
        Scene(part)


def test_real_scenes_have_no_false_alarms() -> None:
    from hud_fast.scenes.fetch import data_folder

    folder = data_folder()
    if folder is None:
        pytest.skip("no scenes at hand")
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.mat")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                cube = hud.load_scene(path).cube
            except ValueError:
                continue  # labels, libraries
        for rows, columns in ((12, 60), (25, 30), (40, 10)):
            y, x = (
                rng.integers(0, max(1, cube.shape[0] - rows)),
                rng.integers(0, max(1, cube.shape[1] - columns)),
            )
            Scene(cube[y : y + rows, x : x + columns])
            Scene(cube[y : y + 40, x : x + 40, ::20])


@pytest.mark.parametrize(
    "dims",
    [
        ("y", "x", "band"),
        ("band", "y", "x"),
        ("x", "wavelength", "lat"),
        ("Line", "bands", "Sample"),
    ],
)
def test_axes_are_known_by_their_names(dims: tuple[str, str, str]) -> None:
    kinds = {
        "y": 0,
        "lat": 0,
        "line": 0,
        "x": 1,
        "sample": 1,
        "band": 2,
        "bands": 2,
        "wavelength": 2,
    }
    given = Named(CUBE.transpose([kinds[name.lower()] for name in dims]), dims)
    np.testing.assert_array_equal(Scene(given).cube, CUBE)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (("y", "x", "feature"), r"one axis of bands, called band, .*got \('y', 'x', 'feature'\)"),
        (("band", "wavelength", "x"), "one axis of bands"),
        (("band", "a", "b"), "axes of rows and columns that are known by name"),
        (("time", "band", "y", "x"), "three axes, got"),
    ],
)
def test_names_that_say_too_little_are_refused(dims: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match="^Scene: .*" + words):
        Scene(Named(np.ones((4,) * len(dims)), dims))


def test_named_axes_have_the_same_rule_everywhere(tmp_path: Path) -> None:
    ends = hud.vca(CUBE, 4, seed=0)
    flat = Named(CUBE.reshape(-1, 30), ("pixel", "band"))
    np.testing.assert_array_equal(hud.vca(flat, 4, seed=0), ends)
    np.testing.assert_array_equal(hud.fcls(flat, ends), hud.fcls(CUBE.reshape(-1, 30), ends))
    first = Named(CUBE.transpose(2, 0, 1), ("band", "y", "x"))
    calls = {
        "fcls": lambda: hud.fcls(first, ends),
        "vca": lambda: hud.vca(first, 4),
        "count_endmembers": lambda: hud.count_endmembers(first),
        "linear_abundances": lambda: hud.linear_abundances(first, ends),
        "point_fidelity": lambda: hud.point_fidelity(CUBE, first),
    }
    for name, call in calls.items():
        with pytest.raises(
            ValueError, match=rf"^{name}: `\w+` must have the axis 'band' last, got"
        ):
            call()
    path = hud.save_scene(first, tmp_path / "a.hdr")
    np.testing.assert_array_equal(hud.load_scene(path).cube, CUBE)


def test_tables_of_pandas_are_arrays() -> None:
    pandas = pytest.importorskip("pandas")
    ends = hud.vca(CUBE, 4, seed=0)
    table = pandas.DataFrame(CUBE.reshape(-1, 30))
    np.testing.assert_array_equal(hud.vca(table, 4, seed=0), ends)
    np.testing.assert_array_equal(hud.fcls(table, ends), hud.fcls(CUBE.reshape(-1, 30), ends))
    with pytest.raises(TypeError, match="real numbers"):
        hud.fcls(pandas.DataFrame({"a": ["x"], "b": [1]}), ends)


@pytest.mark.parametrize(
    "make",
    [lambda t: t.requires_grad_(), torch.Tensor.bfloat16, torch.Tensor.half, lambda t: t[..., ::2]],
)
def test_tensors_of_any_kind_are_taken(make) -> None:
    tensor = make(torch.from_numpy(CUBE).clone())
    expected = tensor.detach().float().numpy()
    np.testing.assert_array_equal(Scene(tensor).cube, expected)


@pytest.mark.parametrize("path", ["scene.hdr", Path("scene.hdr")])
def test_a_path_is_sent_to_load_scene(path) -> None:
    for call, words in (
        (Scene, "Scene: `cube`"),
        (hud.HUD.fit, r"HUD\.fit: `scene`"),
        (lambda p: hud.fit_scenes([p]), r"fit_scenes: `scenes\[0\]`"),
    ):
        with pytest.raises(TypeError, match=rf"^{words} must be .*hud_fast\.load_scene"):
            call(path)


def test_an_array_is_sent_to_scene() -> None:
    with pytest.raises(
        TypeError, match=r"^load_scene: `path_or_name` .* ndarray: hud_fast\.Scene\(cube\)"
    ):
        hud.load_scene(CUBE)  # type: ignore[arg-type]


@pytest.mark.parametrize("bands", [np.array([3, 2, 1]), [3.0, 2.0, 1.0], torch.tensor([3, 2, 1])])
def test_rgb_bands_of_any_kind(bands, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    assert hud.load_scene(tmp_path / "a.npy", rgb_bands=bands).rgb_bands == (3, 2, 1)
    with pytest.raises(TypeError, match="`rgb_bands` must be three bands"):
        Scene(CUBE, rgb_bands=(0.5, 1, 2))  # type: ignore[arg-type]


def test_an_npz_that_is_called_npy_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", cube=CUBE)
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    with pytest.raises(OSError, match=r"not a \.npy file, but an \.npz"):
        hud.load_scene(tmp_path / "z.npy")
