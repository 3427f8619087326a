"""Altered pixels of a catalogue scene: masked, or told that they are not; by name never given unmasked."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from hud_fast.scenes import CATALOGUE, load_scene, save_scene
from hud_fast.scenes.catalogue import File
from hud_fast.scenes.fetch import at_hand

KEY = "salinas-crop"
ENTRY = CATALOGUE[KEY]
ALTERED = File("altered.mat", "gt", "0" * 64)
MARKS = np.array([[0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]], np.uint8)
CUBE = np.arange(1, 25, dtype=np.uint16).reshape(3, 4, 2)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small Salinas crop, without the file of its altered pixels."""
    small = dataclasses.replace(
        ENTRY, shape=(3, 4, 2), altered=ALTERED, wavelengths=None, rgb_bands=None
    )
    monkeypatch.setitem(CATALOGUE, KEY, small)
    monkeypatch.setenv("HUD_FAST_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path / "cache"))
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    savemat(tmp_path / "data" / ENTRY.cube.name, {"X": CUBE})
    return tmp_path / "data" / ENTRY.cube.name


@pytest.mark.parametrize("place", ["data", "data/below", "cache"])
def test_they_are_masked(path: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    savemat(tmp_path / place / ALTERED.name, {"gt": MARKS})
    for scene in (load_scene(path), load_scene(KEY)):
        np.testing.assert_array_equal(scene.valid, MARKS == 0)
        assert (scene.name, scene.endmember_count) == (KEY, 16)
    assert at_hand(KEY)


def test_masks_are_joined(path: Path) -> None:
    savemat(path.with_name(ALTERED.name), {"gt": MARKS})
    own, given = np.ones((2, 3, 4), np.uint8)
    own[0], given[:, 0] = 0, 0
    savemat(path, {"X": CUBE, "mask": own})
    scene = load_scene(path, mask=given)
    np.testing.assert_array_equal(scene.valid, (MARKS == 0) & (own > 0) & (given > 0))


def test_by_path_without_the_file(path: Path, tmp_path: Path) -> None:
    message = r"^load_scene: pixels of Salinas.* are altered, altered.mat beside .*: none is masked"
    with pytest.warns(UserWarning, match=message):
        assert load_scene(path).valid.all()
    assert not at_hand(KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = load_scene(path, mask=MARKS == 0)  # by the user
        again = load_scene(save_scene(masked, tmp_path / "again.mat"))  # by the file
    np.testing.assert_array_equal(again.valid, MARKS == 0)


def test_by_name_without_the_file(path: Path) -> None:
    with pytest.raises(OSError, match=r"^fetch: could not get the altered pixels of Salinas"):
        load_scene(KEY)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"other": MARKS}, "it has no variable gt"),
        ({"gt": MARKS.T}, r"its gt has shape \(4, 3\), not \(3, 4\)"),
    ],
)
def test_by_name_with_another_file(path: Path, content: dict[str, object], why: str) -> None:
    savemat(path.with_name(ALTERED.name), content)
    with pytest.raises(OSError, match=rf"altered.mat \({why}\)"):
        load_scene(KEY)


def test_a_broken_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `fetch` thinks of it, the scene is not given unmasked by its name."""
    path.with_name(ALTERED.name).write_bytes(b"no MATLAB file" * 20)
    with (
        pytest.warns(UserWarning, match="altered pixels left out: .* must be a MATLAB file"),
        pytest.warns(UserWarning, match="none is masked"),
    ):
        load_scene(path)
    monkeypatch.setattr("hud_fast.scenes.load.fetch", lambda _: path)
    with (
        pytest.warns(UserWarning, match="altered pixels left out"),
        pytest.raises(FileNotFoundError, match="must say which, got no such file"),
    ):
        load_scene(KEY)
