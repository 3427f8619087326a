"""Windows to learn from where pixels are missing, against loops; the advice of an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.preparation import PreparedScene
from hud_fast.diffusion.windows import (
    MOST,
    REACH,
    largest_crop,
    mended,
    nearest_valid,
    training_windows,
)
from hud_fast.scenes import simulate_scene

SCENE = simulate_scene(40, 44, C=20, D=3, seed=0)
SCATTERED = np.random.default_rng(0).random((40, 44)) > 0.06


def test_the_nearest_valid_pixel_against_a_loop() -> None:
    valid = np.random.default_rng(1).random((14, 17)) < 0.1
    found = nearest_valid(valid)
    there = np.argwhere(valid)
    for i, j in np.ndindex(valid.shape):
        far = np.sqrt(((there - (i, j)) ** 2).sum(axis=1))
        if far.min() > REACH:
            assert found[i, j] == -1
        else:
            r, c = divmod(int(found[i, j]), 17)
            assert valid[r, c]
            assert np.hypot(r - i, c - j) == pytest.approx(far.min())


def test_windows_with_a_few_filled_pixels_against_a_loop() -> None:
    filled = ~SCATTERED
    found = {tuple(corner) for corner in training_windows(SCATTERED, 16, filled).tolist()}
    wanted = {
        (i, j) for i, j in np.ndindex(25, 29) if filled[i : i + 16, j : j + 16].sum() <= MOST * 256
    }
    assert found == wanted
    one = np.ones((40, 44), bool)
    one[0, 0] = False  # most windows are whole: they are enough
    assert [0, 0] not in training_windows(one, 16, ~one).tolist()


def test_a_scene_of_scattered_gaps_is_learned_from() -> None:
    scene = SCENE.replace(mask=SCATTERED)
    A = SCENE.truth.endmembers.astype(np.float32) if SCENE.truth is not None else np.empty(0)
    whole, holes = (
        PreparedScene.of(one, A, encoder="fcls", raw_latent=False) for one in (SCENE, scene)
    )
    np.testing.assert_array_equal(holes.filled, ~SCATTERED)
    np.testing.assert_array_equal(holes.valid, SCATTERED)
    assert not holes.abundances[torch.from_numpy(~SCATTERED)].isfinite().any()  # what is measured
    with pytest.warns(UserWarning, match=r"missing pixels hold a copy .* few windows of 16 x 16"):
        crops = CropSampler(holes.z, holes.valid, crop=16, filled=holes.filled)
    values = {tuple(row) for row in holes.z[:, torch.from_numpy(SCATTERED)].T.tolist()}
    drawn = crops.draw(4, torch.Generator().manual_seed(0)).movedim(1, -1).reshape(-1, 3)
    assert {tuple(row) for row in drawn.tolist()} <= values  # real pixels' only
    patches = Patches.of(holes.abundances, A, seed=0)
    laid = patches.abundances[patches.layouts(range(1), (16, 16), seed=0)]
    assert laid.isfinite().all()
    assert not whole.filled.any()
    maps, nothing = mended(whole.abundances, whole.valid)
    assert maps is whole.abundances
    assert not nothing.any()


def test_the_largest_crop_that_fits() -> None:
    valid = np.ones((30, 40), bool)
    assert largest_crop(valid, None, 4) == 28
    valid[:, 9:] = False
    assert largest_crop(valid, None, 4) == 8
    assert largest_crop(valid, None, 8) == 0  # twice the step at least
    with pytest.raises(
        ValueError, match=r"got none in 30 x 40; .*: --set crop=8 \(in Python: repl"
    ):
        CropSampler(torch.zeros(2, 30, 40), valid, crop=16, step=4)
    with pytest.raises(ValueError, match=r"at least 32 x 32 .* got 20 x 20; .* --set crop=20 "):
        CropSampler(torch.zeros(2, 20, 20), np.ones((20, 20), bool), crop=32, step=4)
