from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion.crops import CropSampler, free_windows


def numbered(H: int, W: int) -> Tensor:
    """(2, H, W): each pixel's row and column, so that a window tells where it came from."""
    return torch.stack(torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")).float()


@given(st.integers(0, 1000))
def test_free_windows_against_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    H, W, crop = random.integers(4, 14, 3)
    crop = min(crop, H, W, 5)
    valid = random.random((H, W)) > 0.08
    expected = [
        (i, j)
        for i in range(H - crop + 1)
        for j in range(W - crop + 1)
        if valid[i : i + crop, j : j + crop].all()
    ]
    assert [tuple(corner) for corner in free_windows(valid, int(crop))] == expected


def test_every_window_and_symmetry_is_drawn() -> None:
    """Compared with slices, torch.rot90 and flip: all 6 windows in all 8 positions, no other."""
    z = numbered(5, 6)
    expected = {
        tuple(
            torch.rot90(torch.flip(z[:, i : i + 4, j : j + 4], [1] * flip), k, (1, 2))
            .ravel()
            .tolist()
        )
        for i in range(2)
        for j in range(3)
        for flip in range(2)
        for k in range(4)
    }
    sampler = CropSampler(z, np.ones((5, 6), bool), crop=4)
    drawn = sampler.draw(2000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 2, 4, 4)
    assert {tuple(window.ravel().tolist()) for window in drawn} == expected
    assert len(expected) == 48


def test_without_augmentation_windows_are_slices() -> None:
    z = numbered(9, 7)
    sampler = CropSampler(z, np.ones((9, 7), bool), crop=4, augment=False)
    for window in sampler.draw(50, torch.Generator().manual_seed(0)):
        i, j = (int(x) for x in window[:, 0, 0])
        assert torch.equal(window, z[:, i : i + 4, j : j + 4])


def test_masked_pixels_are_never_drawn() -> None:
    valid = np.ones((12, 12), bool)
    valid[5, 6] = valid[0, 0] = False
    z = numbered(12, 12)
    z[:, ~torch.from_numpy(valid)] = torch.nan
    drawn = CropSampler(z, valid, crop=5).draw(500, torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn).all()


def test_the_same_generator_draws_the_same(abundances: NDArray[np.float32]) -> None:
    sampler = CropSampler(torch.randn(3, 20, 24), np.ones((20, 24), bool), crop=8)
    first = sampler.draw(4, torch.Generator().manual_seed(3))
    assert torch.equal(first, sampler.draw(4, torch.Generator().manual_seed(3)))
    assert sampler.count == 13 * 17


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"`scene` must be at least 16 x 16 .* got 15 x 40"):
        CropSampler(torch.zeros(2, 15, 40), np.ones((15, 40), bool), crop=16)
    valid = np.ones((20, 20), bool)
    valid[::7, ::7] = False
    with pytest.raises(
        ValueError, match="must hold a 8 x 8 window without masked pixels, got none"
    ):
        CropSampler(torch.zeros(2, 20, 20), valid, crop=8)
