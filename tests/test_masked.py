"""Masked arrays: refused by every public function of arrays, taken by `Scene` and `save_scene`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fuzz.arguments import CALLS, ENDS, SCENE

import hud_fast as hud

# Those that read files, or take no array.
OTHERS = {
    *("HUD", "AbundanceModel", "fit_scenes", "load_scene", "save_scene", "fetch", "set_isa"),
    *("read_library", "Maps", "LabelledCubes"),
    *("build_config", "check_gpu", "can_run", "last_backend", "__version__"),
}
NOT_TENSORS = {"q_sample": ["z"], "sampler_step": ["z", "eps", "noise"]}  # these take tensors only
ARGUMENTS = [
    (name, argument)
    for name, call in CALLS.items()
    for argument in call.arrays
    if name != "load_scene"
    and (name, argument) not in (("Scene", "cube"), ("unmix", "scene"), ("spread_labels", "scene"))
]


def masked(values: np.ndarray) -> np.ma.MaskedArray:
    mask = np.zeros(np.shape(values), bool)
    mask.flat[1] = True
    return np.ma.masked_array(np.asarray(values), mask)


def test_every_public_function_is_here() -> None:
    assert set(hud.__all__) - OTHERS <= {name.split(".")[0] for name in CALLS}


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_masked_values_are_refused(name: str, argument: str) -> None:
    call = CALLS[name]
    given = {k: v for k, v in {**call.arrays, **call.scalars, **call.work}.items() if v is not ...}
    if name == "softmax_decode":
        given["z"] = np.zeros((1, 3, 2, 2))
    if name in ("realism", "quality"):  # of several samples
        size = 8 if name == "realism" else 4
        for one in {"abundances", "cubes"} & given.keys():
            given[one] = np.repeat(given[one][:, :size, :size], 2, axis=0)
    given[argument] = masked(given[argument])
    words = "must be a torch.Tensor" if argument in NOT_TENSORS.get(name, ()) else "masked array"
    with pytest.raises(TypeError, match=rf"^[\w.]+: `{argument}` .*{words}"):
        call.function(**given)


@pytest.mark.parametrize("argument", ["wavelengths", "good_bands", "mask", "labels"])
def test_side_information_is_refused(argument: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SCENE)
    given = masked(CALLS["load_scene"].arrays[argument])
    with pytest.raises(TypeError, match=rf"^load_scene: `{argument}` must be a plain array"):
        hud.load_scene(tmp_path / "a.npy", **{argument: given})


@pytest.mark.parametrize("function", [hud.HUD.fit, hud.fit_scenes])
def test_masked_endmembers_are_refused(function) -> None:
    first = hud.Scene(SCENE, layout="HWC")
    one = masked(ENDS)
    scenes, ends = (first, one) if function == hud.HUD.fit else ([first], [one])
    with pytest.raises(TypeError, match=r"HUD\.fit: `endmembers` must be a plain array"):
        function(scenes, endmembers=ends, preset="tiny", steps=1, device="cpu")


@pytest.mark.parametrize("nothing", [np.ma.nomask, np.zeros(SCENE.shape, bool)])
def test_arrays_without_masked_values_are_plain(nothing) -> None:
    given = np.ma.masked_array(SCENE, nothing)
    np.testing.assert_array_equal(hud.fcls(given, ENDS), hud.fcls(SCENE, ENDS))
    scene = hud.Scene(given, layout="HWC")
    assert scene.mask is None
    np.testing.assert_array_equal(scene.cube, SCENE.astype(np.float32))


def test_a_list_of_masked_rows_is_no_way_around() -> None:
    with pytest.raises(TypeError, match="`wavelengths` must be a plain array"):
        hud.Scene(np.ones((2, 2, 2)), wavelengths=[np.ma.masked, 500.0])


def test_scene_masks_pixels_and_loses_no_value() -> None:
    mask = np.zeros(SCENE.shape, bool)
    mask[1, 2, 3] = mask[4] = True
    scene = hud.Scene(np.ma.masked_array(SCENE * 1000, mask).astype(np.int16))
    expected = ~mask.any(axis=-1)
    np.testing.assert_array_equal(scene.mask, expected)
    np.testing.assert_array_equal(scene.valid, expected)
    assert np.isnan(scene.cube[mask]).all()
    np.testing.assert_array_equal(scene.cube[~mask], (SCENE * 1000).astype(np.int16)[~mask])
    assert scene.good_bands is None


def test_a_mask_of_the_scene_is_joined_and_empty_bands_are_bad() -> None:
    mask = np.zeros(SCENE.shape, bool)
    mask[..., 5] = True
    mask[0, 0, 0] = True
    own = np.ones(SCENE.shape[:2], bool)
    own[2, 2] = False
    scene = hud.Scene(np.ma.masked_array(SCENE, mask), mask=own)
    assert scene.good_bands.tolist() == [band != 5 for band in range(8)]
    expected = own.copy()
    expected[0, 0] = False
    np.testing.assert_array_equal(scene.valid, expected)
    given = hud.Scene(np.ma.masked_array(SCENE, mask), good_bands=np.arange(8) % 5 > 0)
    assert given.valid.all()  # masked in bad bands only


@pytest.mark.parametrize("suffix", [".hdr", ".npz"])
def test_save_scene_declares_no_data(suffix: str, tmp_path: Path) -> None:
    cube = masked(SCENE)
    read = hud.load_scene(hud.save_scene(cube, tmp_path / f"m{suffix}"))
    np.testing.assert_array_equal(read.valid, ~np.ma.getmaskarray(cube).any(axis=-1))
