"""The judge: each measure against an independent truth, what passes and what fails, masks, small scenes, refusals."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from hud_fast.kernels import fcls
from hud_fast.metrics import Realism, realism
from hud_fast.metrics._copied_pieces import Pieces
from hud_fast.metrics._local_features import (
    Space,
    grain,
    straight_edges,
)
from hud_fast.metrics.real_blocks import SceneTooSmall
from hud_fast.metrics.realism_windows import Windows, tiles
from hud_fast.unmixing import vca

D, C, SIDE = 4, 12, 16
ENDMEMBERS = np.random.default_rng(7).random((D, C)) + 0.2

# Worst relative error measured against the oracles in double precision: 3e-6 (the maps are float32).
FLOAT32 = 2e-5
# Worst relative error measured of what is double precision throughout: 2e-12.
FLOAT64 = 1e-9


def fields(seed: int, H: int = 120, W: int = 120) -> np.ndarray:  # (H, W, D)
    """Fields with straight borders, each of one mixture, some without an endmember; a little noise on top."""
    rng = np.random.default_rng(seed)
    centres = rng.random((160, 2)) * [H, W]
    x = np.maximum(rng.dirichlet(np.full(D, 0.5), len(centres)) - 0.05, 0)
    row, column = np.mgrid[:H, :W]
    apart = (row[..., None] - centres[:, 0]) ** 2 + (column[..., None] - centres[:, 1]) ** 2
    x = x[apart.argmin(axis=-1)] * np.exp(0.15 * rng.normal(size=(H, W, D)))
    return x / x.sum(axis=-1, keepdims=True)


def cut(maps: np.ndarray, count: int = 32, seed: int = 0) -> np.ndarray:  # (count, SIDE, SIDE, D)
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, np.array(maps.shape[:2]) - SIDE + 1, (count, 2))
    return np.stack([maps[i : i + SIDE, j : j + SIDE] for i, j in corners])


SCENE, HONEST = fields(0), cut(fields(1))  # one law, other fields


def shuffled(maps: np.ndarray) -> np.ndarray:
    """Each map's power spectrum with phases of noise: as grainy and as coarse, but without a border."""
    noise = np.random.default_rng(0).normal(size=maps.shape[:3])
    phase = np.fft.rfft2(noise, axes=(1, 2))
    phase /= np.abs(phase)
    phase[:, 0, 0] = 1
    z = np.fft.rfft2(np.log(maps + np.exp(-8) / D), axes=(1, 2))
    x = np.exp(np.fft.irfft2(z * phase[..., None], s=maps.shape[1:3], axes=(1, 2)))
    return x / x.sum(axis=-1, keepdims=True)


GENERATED = {
    "honest": HONEST,
    "blurred": gaussian_filter(HONEST, (0, 1, 1, 0)),
    "shuffled": shuffled(HONEST),
    "copied": cut(SCENE, seed=5),
}


@cache
def judged(name: str) -> Realism:
    return realism(GENERATED[name], SCENE, ENDMEMBERS, bootstrap=100)


def test_spaces_are_principal_components() -> None:
    pixels = SCENE[:40, :40].reshape(-1, D)
    scene = torch.from_numpy(pixels)
    logs = np.log(pixels @ ENDMEMBERS)
    z = np.log(pixels + np.exp(-8) / D)
    spaces = [Space.of_spectra(scene, torch.from_numpy(ENDMEMBERS)), Space.of_latents(scene)]
    for space, values in zip(spaces, (logs, z / np.maximum(z.std(axis=0), 0.5)), strict=True):
        rows = values - values.mean(axis=0)
        left, size, _ = np.linalg.svd(rows, full_matrices=False)
        keep = (size[:4] ** 2 > 1e-3 * (size**2).sum()).sum()
        maps = space.maps(scene[None])[0].double().numpy()
        assert maps.shape == (len(pixels), keep)
        truth = left[:, :keep] * np.sqrt(len(pixels))
        truth *= np.sign((truth * maps).sum(axis=0))
        np.testing.assert_allclose(maps, truth, atol=20 * FLOAT32)  # of values up to 5


# Copied pieces and windows.


def turns(block: np.ndarray) -> list[np.ndarray]:
    """All eight of a square."""
    return [np.rot90(one, k) for one in (block, block[:, ::-1]) for k in range(4)]


@pytest.mark.parametrize("turn", range(8))
def test_a_planted_piece_is_found_with_its_share(turn: int) -> None:
    rng = np.random.default_rng(turn)
    scene = rng.normal(size=(40, 33, 3))
    pieces = Pieces(scene, [0])
    block = 9 + rng.normal(size=(12, 12, 3))  # unlike any pixel of the scene
    block[3:8, 2:11] = scene[20:25, 11:20]  # 5 x 9
    block[9:, :3] = scene[1:4, 1:4]  # smaller, from elsewhere
    assert pieces.largest(turns(block)[turn]) == pytest.approx(45 / 144)
    # two pieces that touch at a corner only are two
    block[:] = 9
    block[:3, :3], block[3:6, 3:6] = scene[5:8, 5:8], scene[8:11, 8:11]
    assert pieces.largest(turns(block)[turn]) == pytest.approx(9 / 144)
    assert pieces.largest(np.full((12, 10, 3), 9.0)) == 0


def test_a_real_blocks_own_place_does_not_count() -> None:
    scene = np.random.default_rng(0).normal(size=(50, 50, 3))
    scene[30:36, 30:38] = scene[12:18, 10:18]  # what does stand elsewhere
    pieces = Pieces(scene, [0])
    block = scene[10:22, 8:20]
    for one in turns(block):
        assert pieces.largest(one) == 1
        assert pieces.largest(one, (10, 8)) == pytest.approx(48 / 144, abs=3 / 144)  # with chance
    assert pieces.largest(scene[20:32, 30:42], (20, 30)) == pytest.approx(16 / 144)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 6))
def test_windows_are_cut_and_turned(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.normal(size=(3, 9, 8, 2))
    which, corner, turn = rng.integers(3, size=9), rng.integers(3, size=(9, 2)), np.arange(9) % 8
    found = Windows(which, corner, turn, (h, w)).of(torch.from_numpy(pictures)).numpy()
    for k in range(9):
        i, j = corner[k]
        truth = pictures[which[k], i : i + h, j : j + w]
        truth = truth[::-1] if turn[k] & 1 else truth
        truth = truth[:, ::-1] if turn[k] & 2 else truth
        truth = truth.transpose(1, 0, 2) if turn[k] & 4 and h == w else truth
        np.testing.assert_array_equal(found[k], truth)


def test_tiles_do_not_share_pixels_nor_hold_masked_ones() -> None:
    valid = np.random.default_rng(0).random((100, 75)) > 0.002
    owner = np.full(valid.shape, -1)
    for number, corners in enumerate(tiles(torch.from_numpy(valid), 20)):
        for i, j in corners:
            window = owner[i : i + 20, j : j + 20]
            assert valid[i : i + 20, j : j + 20].all()
            assert set(np.unique(window)) <= {-1, number}
            window[:] = number
    assert owner.max() > 5


# All of it.


def test_real_blocks_pass_and_others_of_their_law_nearly() -> None:
    for name in ("honest", "copied"):
        found = judged(name)
        for row, most in ((found.real, 0.65), (found.generated, 0.75)):
            for space in (row.spectra, row.z):
                assert space.classifier is not None
                assert space.recall is not None
                assert 0.3 < space.classifier.value < most
                assert space.recall.value > 0.8
        for space in ("spectra", "z"):
            mine, real = getattr(found.generated, space), getattr(found.real, space)
            assert mine.straight_edges.low < real.straight_edges.high
            assert real.straight_edges.low < mine.straight_edges.high
            assert mine.grain.value == pytest.approx(real.grain.value, rel=0.15)
    assert not judged("honest").notes


@pytest.mark.parametrize("name", ["blurred", "shuffled"])
def test_blurred_and_shuffled_blocks_fail(name: str) -> None:
    found, honest = judged(name), judged("honest")
    for space in ("spectra", "z"):
        mine, theirs = getattr(found.generated, space), getattr(honest.generated, space)
        real = getattr(found.real, space)
        assert mine.classifier.low > 0.95
        assert mine.frechet.low > theirs.frechet.high
        assert mine.recall.high < theirs.recall.low
        if name == "blurred":
            assert mine.grain.high < 0.6 * real.grain.low
        else:
            assert mine.straight_edges.high < 0.5 * real.straight_edges.low
            assert mine.grain.low > 1.5 * real.grain.high
    assert found.generated.zeros.high < found.real.zeros.low
    assert found.real == honest.real


def test_copies_are_seen_by_their_pieces_alone() -> None:
    found = judged("copied")
    assert found.generated.copied_piece.value == 1
    assert found.generated.largest_copied_piece == 1
    assert found.real.largest_copied_piece < 0.6
    assert judged("honest").generated.copied_piece.value < 0.2


def test_values_are_those_of_the_blocks() -> None:
    """Of measures over blocks: each block's own numbers, whichever way it is turned."""
    found = judged("honest").generated
    floor = 2 * np.exp(-8) / D
    assert found.zeros.value == pytest.approx((floor >= HONEST).mean(), rel=FLOAT64)
    space = Space.of_spectra(torch.from_numpy(SCENE.reshape(-1, D)), torch.from_numpy(ENDMEMBERS))
    maps = space.maps(torch.from_numpy(HONEST))
    part, whole = straight_edges(maps)
    edges = (part.mean(axis=0) / whole.mean(axis=0)).mean()
    # a pixel at the limit of what is straight may fall on its other side in another turn
    assert found.spectra.straight_edges.value == pytest.approx(edges, rel=1e-3)
    rough, spread = grain(maps)
    truth = np.sqrt(rough.mean(axis=0) / spread.mean(axis=0)).mean()
    assert found.spectra.grain.value == pytest.approx(truth, rel=FLOAT32)


def test_masked_pixels_do_not_count() -> None:
    wide = np.full((120, 144, D), np.nan)
    wide[:, :120] = SCENE
    found = realism(HONEST, wide, ENDMEMBERS, bootstrap=0).to_dict()
    truth = judged("honest").to_dict()

    def compare(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            for key in one.keys() - {"interval"}:
                compare(one[key], other[key])
        elif isinstance(one, float):
            assert one == pytest.approx(other, rel=1e-3)  # rounding of axes, then of limits
        else:
            assert one == other

    compare(found, truth)
    holes = SCENE.copy()
    holes[::24, ::24] = np.nan
    row = realism(HONEST[:4], holes, ENDMEMBERS, bootstrap=0).real
    assert np.isfinite(row.spectra.grain.value)
    assert np.isfinite(row.copied_piece.value)


SMALL, FEW = SCENE[:40, :36], HONEST[:4, :10, :8]  # rectangles, on purpose


def small(**changes: Any) -> Realism:
    arguments = {"abundances": FEW, "scene": SMALL, "endmembers": ENDMEMBERS, **changes}
    return realism(**{"bootstrap": 20, **arguments})


def test_a_small_scene_has_no_classifier() -> None:
    found = small()
    assert found.generated.spectra.classifier is None
    assert found.real.z.classifier is None
    assert found.generated.spectra.frechet is not None
    assert found.notes == (
        "the classifier is undefined: 4 tiles of 24 x 24 pixels in the scene, it needs 8",
    )
    doubtful = small(scene=SCENE[:72, :72])
    assert doubtful.generated.spectra.classifier is not None
    assert "mostly chance: 9 tiles" in doubtful.notes[0]
    two = small(abundances=FEW[:2])
    assert two.generated.z.frechet is two.real.z.recall is None
    assert "Frechet distance, recall and coverage are undefined: 2 blocks" in two.notes[0]
    # fewer places than blocks: both rows have as many as there are
    tight = small(scene=SMALL[:11, :9])
    assert tight.generated.blocks == tight.real.blocks == 4
    assert small(scene=SMALL[:11, :8]).real.blocks == 2
    assert small(blocks=3).generated.blocks == 3


def test_the_seed_decides_and_tensors_are_as_good_as_arrays() -> None:
    one = small().to_dict()
    assert small().to_dict() == one
    assert small(seed=1).to_dict() != one
    tensors = {"abundances": FEW, "scene": SMALL, "endmembers": ENDMEMBERS}
    found = small(**{name: torch.tensor(values) for name, values in tensors.items()})
    assert found.to_dict() == one


def test_the_result_is_json_and_progress_goes_up_to_its_end() -> None:
    seen: list[int] = []
    found = small(progress=lambda done, _: seen.append(done)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["settings"] == {"block": [10, 8], "seed": 0}
    assert found["generated"]["spectra"]["classifier"] is None
    assert found["generated"]["z"]["grain"]["interval"] is not None
    assert seen == sorted(seen)
    assert seen[-1] == 1000
    none = small(bootstrap=0).to_dict()
    assert none["generated"]["z"]["grain"]["interval"] is None


def test_flat_blocks_have_no_structure_but_values() -> None:
    """What a generator that learned nothing makes: no division by zero."""
    found = small(abundances=np.full_like(FEW, 1 / D)).generated
    assert found.spectra.straight_edges.value == found.spectra.grain.value == 0
    assert found.spectra.recall is not None
    assert found.spectra.recall.value < 0.2
    one = np.zeros_like(SMALL)
    one[..., 0] = 1
    assert np.isfinite(small(scene=one).generated.spectra.grain.value)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"abundances": FEW[0]}, ValueError, r"`abundances` must have shape \(B, h, w, D\) with B >= 2"),
        ({"abundances": FEW[:1]}, ValueError, r"B >= 2 .* got \(1, 10, 8, 4\)"),
        ({"abundances": FEW[:, :, :7]}, ValueError, r"h, w >= 8, got \(4, 10, 7, 4\)"),
        ({"abundances": np.where(FEW > 0.5, np.nan, FEW)}, ValueError, r"`abundances` must be finite"),
        ({"abundances": "maps"}, TypeError, r"`abundances` must be a numpy array or a torch tensor"),
        ({"scene": SMALL[0]}, ValueError, r"`scene` must have shape \(H, W, D\) with D = 4"),
        ({"scene": SMALL[..., :3]}, ValueError, r"`scene` must have .* got \(40, 36, 3\)"),
        ({"scene": SMALL[:9]}, SceneTooSmall, r"`scene` must hold two windows of 10 x 8 .* got 9 x 36"),
        ({"scene": SMALL[:10, :8]}, SceneTooSmall, r"two windows of 10 x 8 .* take smaller blocks"),
        ({"scene": SMALL * np.nan}, SceneTooSmall, r"`scene` must hold two windows"),
        ({"endmembers": ENDMEMBERS[:3]}, ValueError, r"`endmembers` must have shape \(D, C\) with D = 4"),
        ({"endmembers": ENDMEMBERS * np.inf}, ValueError, r"`endmembers` must be finite"),
        ({"blocks": 1}, ValueError, r"`blocks` must be at least 2, got 1"),
        ({"bootstrap": -1}, ValueError, r"`bootstrap` must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, r"`seed` must be an int"),
    ],
)  # fmt: skip
def test_bad_input(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        small(**changes)


def test_indian_pines(indian_pines: np.ndarray) -> None:
    """Real blocks pass, the same blocks blurred do not: with values near those of the record."""
    endmembers = vca(indian_pines.reshape(-1, 200), 16, seed=0)
    scene = fcls(indian_pines, endmembers)
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 145 - 32 + 1, (24, 2))
    blocks = np.stack([scene[i : i + 32, j : j + 32] for i, j in corners])
    found = realism(gaussian_filter(blocks, (0, 1, 1, 0)), scene, endmembers, bootstrap=0)
    real, made = found.real, found.generated
    assert real.spectra.classifier is not None
    assert made.spectra.classifier is not None
    # real blocks lie on the tiles that train: they pass for real a little better than others can
    assert 0.35 < real.spectra.classifier.value < 0.55
    assert made.spectra.classifier.low > 0.9
    assert 0.1 < real.spectra.straight_edges.value < 0.25
    assert made.spectra.grain.value < 0.6 * real.spectra.grain.value
    assert real.zeros.value > made.zeros.value
    assert not found.notes
