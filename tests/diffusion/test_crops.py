from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusion.test_capture import Watch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.windows import free_windows


def numbered(H: int, W: int) -> Tensor:
    """(2, H, W): each pixel's row and column, so that a window tells where it came from."""
    return torch.stack(torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")).float()


def cut_by_hand(z: Tensor, corner: tuple[int, int], turn: int, crop: int) -> Tensor:
    """The window's pixel numbers worked out from the turn's three bits, as before there were tables."""
    width = z.shape[2]
    i, j = torch.arange(crop).view(-1, 1), torch.arange(crop).view(1, -1)
    row, column = crop - 1 - i if turn & 1 else i, crop - 1 - j if turn & 2 else j
    if turn & 4:  # transposed: what counted rows counts columns
        row, column = row.T, column.T
    index = corner[0] * width + corner[1] + row * width + column
    return z.reshape(len(z), -1)[:, index]


@given(st.integers(0, 1000))
def test_tables_cut_what_arithmetic_cut(seed: int) -> None:
    """Every bit, for one to three scenes of different widths and masks."""
    random = np.random.default_rng(seed)
    crop = int(random.integers(2, 6))
    maps, masks = [], []
    for _ in range(random.integers(1, 4)):
        H, W = random.integers(crop, 15, 2)
        valid = random.random((H, W)) > 0.05
        valid[:crop, :crop] = True
        maps.append(torch.from_numpy(random.standard_normal((3, H, W), dtype=np.float32)))
        masks.append(valid)
    sampler = CropSampler(maps, masks, crop=crop)
    corners = [
        (number, corner) for number, mask in enumerate(masks) for corner in free_windows(mask, crop)
    ]
    chosen = sampler.choose(30, torch.Generator().manual_seed(seed))
    windows, scenes = sampler.cut(chosen), sampler.scene_of(chosen)
    if len(maps) == 1:
        assert scenes is None
        scenes = torch.zeros(30)
    assert scenes is not None
    assert windows.is_contiguous()
    for window, scene, which, turn in zip(windows, scenes, *chosen, strict=True):
        number, corner = corners[which]
        assert number == scene
        assert torch.equal(window, cut_by_hand(maps[number], corner, int(turn) % 8, crop))


def test_one_scene_draws_as_it_always_did() -> None:
    """A training of one scene keeps its windows: two batches of integers, the window's and the turn's."""
    sampler = CropSampler([torch.zeros(2, 20, 24)], [np.ones((20, 24), bool)], crop=8)
    a, b = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    chosen = sampler.choose(64, a)
    assert torch.equal(chosen[0], torch.randint(13 * 17, (64,), generator=b))
    assert torch.equal(chosen[1], torch.randint(8, (64,), generator=b))
    assert torch.equal(a.get_state(), b.get_state())
    assert sampler.scene_of(chosen) is None


def test_scenes_are_equally_likely_and_so_are_their_windows() -> None:
    """Whatever their size: 6 windows here, 136 there."""
    maps = [torch.zeros(1, 5, 6), torch.zeros(1, 11, 20)]
    sampler = CropSampler(maps, [np.ones(z.shape[1:], bool) for z in maps], crop=4)
    assert sampler.counts == (6, 136)
    chosen = sampler.choose(40_000, torch.Generator().manual_seed(0))
    share = torch.bincount(chosen[0], minlength=142) / 40_000
    torch.testing.assert_close(share[:6], torch.full((6,), 1 / 12), rtol=0.1, atol=0)
    torch.testing.assert_close(share[6:], torch.full((136,), 1 / 272), rtol=0.4, atol=0)
    assert abs(float(share[:6].sum()) - 0.5) < 0.01
    scene = sampler.scene_of(chosen)
    assert scene is not None
    assert torch.equal(scene, (chosen[0] >= 6).long())


def test_cutting_waits_for_nothing() -> None:
    """Every operation runs on the meta device, where nothing can be read back, and in a fixed number."""
    sampler = CropSampler(torch.zeros(3, 20, 24), np.ones((20, 24), bool), crop=8)
    on_meta = CropSampler(torch.zeros(3, 20, 24, device="meta"), np.ones((20, 24), bool), crop=8)
    chosen = sampler.choose(4, torch.Generator().manual_seed(0))
    with Watch() as watch:
        sampler.cut(chosen)
    assert watch.waits == []
    assert watch.count < 20
    assert on_meta.cut(chosen.to("meta")).shape == (4, 3, 8, 8)


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
    sizes = [torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)]
    with pytest.raises(ValueError, match=r"fit_scenes: `scenes\[1\]` must hold a 8 x 8 window"):
        CropSampler(sizes, [np.ones((20, 20), bool), valid], crop=8)
    with pytest.raises(ValueError, match=r"`scenes\[1\]` must have 2 endmembers .* got 3"):
        CropSampler([sizes[0], torch.zeros(3, 20, 20)], [np.ones((20, 20), bool)] * 2, crop=8)
