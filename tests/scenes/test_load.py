"""load_scene whatever the format: missing and empty files, names, missing values, masks, scale, side files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from hud_fast.scenes import Scene, load_scene, save_scene, simulate_scene

CUBE = simulate_scene(20, 24, C=30, D=4, seed=3).cube


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    np.save(tmp_path / "field.npy", CUBE)
    return tmp_path / "field.npy"


@pytest.mark.parametrize("name", ["a.mat", "a.hdr", "a.npy", "a.npz", "folder/a", "a.img", "a.xyz"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"^load_scene: .* an existing file or a catalogue"):
        load_scene(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"^load_scene: `path_or_name`"):
        load_scene(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mat", "a.hdr", "a.npy", "a.npz"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(OSError, match=r"^load_scene: .* must be a file with data, got .*: 0 bytes"):
        load_scene(tmp_path / name)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"^load_scene: .* must be a file, got the folder"):
        load_scene(tmp_path)


def test_an_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.foo").write_bytes(b"a word")
    with pytest.raises(ValueError, match=r"^load_scene: .* end in one of \.mat, .*\.hdr.*a\.foo"):
        load_scene(tmp_path / "a.foo")


def test_an_unknown_name_with_close_matches() -> None:
    with pytest.raises(
        ValueError, match=r"existing file or one of indian-pines.*mean indian-pines"
    ):
        load_scene("indain-pines")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_truncated_numpy_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_scene(CUBE, path)
    data = path.read_bytes()
    for size in (10, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(OSError, match=r"must be a whole .np[yz] file, got a broken one"):
            load_scene(path)


def test_an_npy_that_is_no_cube(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"must hold a cube of three axes.*got shape \(3, 4\)"):
        load_scene(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((3, 4, 5), complex))
    with pytest.raises(TypeError, match="must hold real numbers, got complex128"):
        load_scene(tmp_path / "b.npy")


def test_booleans_are_no_cube(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=CUBE > 0.5)
    with pytest.raises(TypeError, match="`variable` data must hold real numbers, got bool"):
        load_scene(tmp_path / "a.npz")


def test_other_npz_files_are_searched_like_mat_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=CUBE, wavelengths=np.linspace(0.4, 1.0, 30), words=np.array("hello"))
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.wavelengths is not None
    assert scene.wavelengths[-1] == pytest.approx(1000.0)
    np.savez(path, Y=CUBE.reshape(-1, 30), H=20, W=24)  # row by row, as NumPy reshapes
    np.testing.assert_array_equal(load_scene(path).cube, CUBE)


def test_layouts_of_npy(tmp_path: Path) -> None:
    rough = simulate_scene(42, 50, C=40, D=4, snr_db=60.0, smoothness=1.0, seed=3).cube
    np.save(tmp_path / "a.npy", rough.transpose(2, 0, 1))
    with pytest.raises(ValueError, match="`layout` must be given"):
        load_scene(tmp_path / "a.npy")
    np.testing.assert_array_equal(load_scene(tmp_path / "a.npy", layout="CHW").cube, rough)
    np.save(tmp_path / "b.npy", CUBE.reshape(-1, 30).T)
    scene = load_scene(tmp_path / "b.npy", layout="CP", shape=(20, 24))
    np.testing.assert_array_equal(scene.cube, CUBE)


def test_missing_values_make_pixels_invalid_and_empty_bands_bad(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[3, 4, 5] = np.nan
    cube[..., 7] = np.nan
    np.save(tmp_path / "a.npy", cube)
    scene = load_scene(tmp_path / "a.npy")
    assert scene.good_bands is not None
    np.testing.assert_array_equal(np.flatnonzero(~scene.good_bands), [7])
    assert (~scene.valid).sum() == 1
    assert not scene.valid[3, 4]
    assert scene.drop_bad_bands().C == 29


def test_nothing_but_missing_values(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 5, 6), np.nan))
    with pytest.raises(ValueError, match="`mask` must leave a valid pixel, got none of 20"):
        load_scene(tmp_path / "a.npy")


def test_values_beyond_float32_are_missing(tmp_path: Path) -> None:
    cube = CUBE.astype(np.float64)
    cube[0, 0] = -1.7976931348623157e308  # a common no-data value
    np.save(tmp_path / "a.npy", cube)
    scene = load_scene(tmp_path / "a.npy", layout="HWC")
    assert not scene.valid[0, 0]
    assert scene.valid.sum() == scene.valid.size - 1


def test_scale(npy: Path) -> None:
    scene = load_scene(npy, scale=4.0)
    np.testing.assert_array_equal(scene.cube, CUBE / np.float32(4.0))
    assert scene.scale == 4.0
    assert load_scene(npy).scale == 1.0
    automatic = load_scene(npy, scale="auto")
    assert automatic.cube.max() == 1.0
    assert automatic.scale == CUBE.max()
    with pytest.raises(TypeError, match="`scale` must be a number, 'auto' or None, got 'max'"):
        load_scene(npy, scale="max")  # type: ignore[arg-type]
    np.save(npy, -CUBE)
    with pytest.raises(ValueError, match="`scale` must be a number here: with 'auto'"):
        load_scene(npy, scale="auto")


def test_side_information_from_files(npy: Path, tmp_path: Path) -> None:
    centres = np.linspace(400.0, 900.0, 30)
    text = tmp_path / "centres.txt"
    text.write_text("\n".join(f"{centre:.6f}, 5.0" for centre in centres))
    mask = np.ones((20, 24), np.uint8)
    mask[0] = 0
    np.save(tmp_path / "mask.npy", mask)
    labels = np.arange(480).reshape(20, 24) % 5
    savemat(tmp_path / "labels.mat", {"gt": labels, "other": np.ones((1, 4))})
    scene = load_scene(
        npy,
        wavelengths=text,
        mask=tmp_path / "mask.npy",
        labels=str(tmp_path / "labels.mat"),
        good_bands=[True] * 29 + [False],
        name="my field",
    )
    assert scene.wavelengths is not None
    np.testing.assert_allclose(scene.wavelengths, centres, atol=1e-5)
    np.testing.assert_array_equal(scene.mask, mask == 1)
    np.testing.assert_array_equal(scene.labels, labels)
    assert scene.name == "my field"
    assert scene.good_bands is not None
    assert not scene.good_bands[29]


def test_side_files_that_do_not_fit(npy: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`mask` must be numbers or a file, got .*no.npy"):
        load_scene(npy, mask=tmp_path / "no.npy")
    (tmp_path / "w.txt").write_text("four\n")
    with pytest.raises(ValueError, match="`wavelengths` must be a file of numbers"):
        load_scene(npy, wavelengths=tmp_path / "w.txt")
    savemat(tmp_path / "two.mat", {"a": np.ones((3, 3)), "b": np.ones((3, 3))})
    with pytest.raises(
        ValueError, match="`labels` must be a file with one fitting variable, got a"
    ):
        load_scene(npy, labels=tmp_path / "two.mat")


def test_user_and_file_masks_are_joined(tmp_path: Path) -> None:
    first, second = np.ones((2, 20, 24), bool)
    first[0], second[:, 0] = False, False
    save_scene(Scene(CUBE, mask=first), tmp_path / "a.npz")
    scene = load_scene(tmp_path / "a.npz", mask=second)
    np.testing.assert_array_equal(scene.mask, first & second)


def test_a_few_bands_are_no_evidence_against_the_convention(tmp_path: Path) -> None:
    """Three or ten bands have a low rank whatever they are: they must not be taken for another axis."""
    for shape, seed in (((36, 36, 10), 0), ((70, 40, 3), 1)):
        cube = simulate_scene(shape[0], shape[1], C=shape[2], D=3, seed=seed).cube
        np.save(tmp_path / "few.npy", cube)
        assert load_scene(tmp_path / "few.npy").cube.shape == shape


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (".hdr", "variable", "cube"),
        (".hdr", "layout", "CHW"),
        (".hdr", "shape", (3, 4)),
        (".img", "variable", "cube"),
        (".npy", "variable", "cube"),
        (".npz", "layout", "HWC"),
        (".npz", "shape", (6, 7)),
    ],
)
def test_what_cannot_apply_to_a_file_is_refused(
    tmp_path: Path, kind: str, option: str, value: Any
) -> None:
    path = save_scene(simulate_scene(6, 7, C=8, D=3), tmp_path / f"a{kind}").with_suffix(kind)
    with pytest.raises(
        ValueError,
        match=rf"^load_scene: `{option}` must not be given for a file of the kind .*a\{kind}",
    ):
        load_scene(path, **{option: value})


def test_the_shape_of_an_array_of_three_axes_must_be_its_own(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((8, 6, 7), np.float32))
    np.savez(tmp_path / "a.npz", cube=np.ones((8, 6, 7), np.float32))
    for name in ("a.npy", "a.npz"):
        assert load_scene(tmp_path / name, layout="CHW", shape=(6, 7)).shape == (6, 7, 8)
        with pytest.raises(
            ValueError, match=r"`shape` must be left out .*\(6, 7\) .* got \(3, 4\)"
        ):
            load_scene(tmp_path / name, layout="CHW", shape=(3, 4))


def test_of_a_stack_in_numpy_files_one_cube_is_named(tmp_path: Path) -> None:
    stack = np.stack([CUBE, 2 * CUBE])
    np.save(tmp_path / "a.npy", stack)
    with pytest.raises(
        ValueError, match=r"must hold one cube, got a stack of shape \(2, 20, 24, 30\)"
    ):
        load_scene(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", cubes=stack, wavelengths=np.linspace(400, 900, 30))
    with pytest.raises(ValueError, match=r"the stack cubes 2x20x24x30: cubes\[0\] to cubes\[1\]"):
        load_scene(tmp_path / "a.npz")
    scene = load_scene(tmp_path / "a.npz", variable="cubes[1]")
    np.testing.assert_array_equal(scene.cube, 2 * CUBE)
    assert scene.wavelengths is not None
