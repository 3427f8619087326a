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
from scipy.linalg import sqrtm
from scipy.ndimage import correlate, gaussian_filter, median_filter
from scipy.spatial.distance import cdist

from hud_fast.kernels import fcls
from hud_fast.metrics import Realism, realism
from hud_fast.metrics._copied_pieces import Pieces
from hud_fast.metrics._local_features import (
    KINDS,
    SHOWN,
    Bank,
    Space,
    grain,
    responses,
    straight_edges,
    structure,
)
from hud_fast.metrics._real_blocks import SceneTooSmall
from hud_fast.metrics._realism_windows import Windows, tiles
from hud_fast.metrics._two_samples import area_under_curve, frechet_distance, recall_coverage
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


def picture(values: np.ndarray) -> torch.Tensor:  # (h, w) -> (1, h, w, 1)
    return torch.from_numpy(values)[None, ..., None].float()


def share(parts: tuple[np.ndarray, np.ndarray]) -> float:
    return float((parts[0] / parts[1]).mean())


# Edges and grain.


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 130])
def test_a_straight_edge_is_one(degrees: float) -> None:
    row, column = np.mgrid[:32, :32] - 15.5
    across = np.cos(np.radians(degrees)) * column + np.sin(np.radians(degrees)) * row
    assert share(straight_edges(picture(np.tanh(across)))) > 0.99


def test_noise_and_round_things_have_no_straight_edges() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(64, 32, 32, 3))).float()
    assert share(straight_edges(noise)) < 0.05
    row, column = np.mgrid[:32, :32] - 15.5
    dot = np.exp(-(row**2 + column**2) / 8)
    edge = np.tanh(row)
    assert share(straight_edges(picture(dot))) < 0.5 * share(straight_edges(picture(edge)))


def test_the_structure_tensor_is_that_of_the_definition() -> None:
    values = gaussian_filter(np.random.default_rng(0).normal(size=(24, 19)), 1)
    gy, gx = (np.gradient(values, axis=axis)[1:-1, 1:-1] for axis in (0, 1))
    # reach 5, reflected about the pixel at the border, as the judge's
    xx, yy, xy = (gaussian_filter(p, 1.5, mode="mirror", radius=5) for p in (gx**2, gy**2, gx * gy))
    tensor = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -1)
    small, large = np.moveaxis(np.linalg.eigvalsh(tensor), -1, 0)
    energy, coherence = (found[0, 0].numpy() for found in structure(picture(values)))
    np.testing.assert_allclose(energy, small + large, rtol=FLOAT32)
    np.testing.assert_allclose(coherence, (large - small) / (large + small), atol=FLOAT32)
    part, whole = straight_edges(picture(values))
    truth = ((small + large) * (large - small > 0.8 * (large + small))).mean()
    assert part[0, 0] == pytest.approx(truth, rel=FLOAT32)
    assert whole[0, 0] == pytest.approx((small + large).mean(), rel=FLOAT32)


def test_grain_is_the_difference_from_the_median() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(5, 17, 14, SHOWN + 1))
    rough, spread = grain(torch.from_numpy(noise).float())
    assert rough.shape == spread.shape == (5, SHOWN)
    for n in range(5):
        for k in range(SHOWN):
            rest = noise[n, :, :, k] - median_filter(noise[n, :, :, k], 3)
            assert rough[n, k] == pytest.approx((rest[1:-1, 1:-1] ** 2).mean(), rel=FLOAT32)
            assert spread[n, k] == pytest.approx(noise[n, :, :, k].var(), rel=FLOAT32)
    assert np.sqrt(rough / spread).mean() > 0.8  # white noise
    ramp = np.add.outer(np.arange(16.0), 2 * np.arange(16.0))  # its median is the middle
    rough, spread = grain(picture(ramp))
    assert rough[0, 0] == pytest.approx(0, abs=1e-9)
    assert spread[0, 0] == pytest.approx(ramp.var(), rel=FLOAT32)


# What is measured of two sets.


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_frechet_distance_of_two_gaussians(F: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (
        rng.normal(size=(n, F)) @ rng.normal(size=(F, F)) + rng.normal(size=F) for n in (40, 30)
    )
    S, T = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    root = sqrtm(S @ T)
    shift = one.mean(axis=0) - other.mean(axis=0)
    truth = shift @ shift + np.trace(S + T - 2 * np.real(root))
    # the root of an ill-conditioned product costs half of the digits, here and there
    assert frechet_distance(one, other) == pytest.approx(truth, rel=1e-6, abs=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6 * np.trace(S))


def test_frechet_distance_in_closed_form() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T  # covariance 1
    # Gaussians of standard deviations 2 and 5, means 0 and 3 in each of 4 dimensions
    assert frechet_distance(2 * rows, 5 * rows + 3) == pytest.approx(4 * (3**2 + 3**2), rel=FLOAT64)


@given(st.integers(2, 25), st.integers(2, 25), st.integers(0, 10_000))
def test_recall_and_coverage_by_brute_force(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    generated, real = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + rng.normal()

    def reach(rows: np.ndarray, k: int) -> float:
        """Distance from row k to its fifth neighbour, or the farthest there is."""
        others = sorted(np.linalg.norm(rows - rows[k], axis=1))[1:]
        return others[min(5, len(others)) - 1]

    apart = cdist(real, generated)
    near = [any(apart[i, j] <= reach(generated, j) for j in range(n)) for i in range(m)]
    covered = [apart[i].min() <= reach(real, i) for i in range(m)]
    assert recall_coverage(generated, real) == (np.mean(near), np.mean(covered))


def test_the_classifier_by_hand() -> None:
    rng = np.random.default_rng(0)
    one, real, two, rest = (rng.normal(size=(n, 7)) + n / 50 for n in (30, 40, 25, 20))
    two[3], rest[5] = two[0], two[0]  # ties count half
    rows = np.concatenate([one, real])
    scaled = [(part - rows.mean(axis=0)) / rows.std(axis=0) for part in (rows, two, rest)]
    y = np.repeat([1.0, -1.0], [30, 40])
    X = scaled[0]
    # ridge over features where the judge solves over rows: the same weights
    w = np.linalg.solve(X.T @ X + len(X) * np.eye(7), X.T @ (y - y.mean()))
    pairs = (scaled[1] @ w)[:, None] - (scaled[2] @ w)[None]
    equal = np.abs(pairs) < 1e-12
    truth = ((pairs > 0) & ~equal).mean() + 0.5 * equal.mean()
    assert area_under_curve((one, real), (two, rest)) == pytest.approx(truth, rel=1e-3)


def test_the_classifier_tells_what_can_be_told() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(400, 20)) for _ in range(4)]
    same = area_under_curve((sets[0], sets[1]), (sets[2], sets[3]))
    assert same == pytest.approx(0.5, abs=0.1)  # 2.5 standard deviations of chance are 0.05
    far = area_under_curve((sets[0] + 3, sets[1]), (sets[2] + 3, sets[3]))
    assert far == pytest.approx(1)
    assert area_under_curve((sets[0] + 3, sets[1]), (sets[2] - 3, sets[3])) == pytest.approx(0)


def test_filters_are_convolutions() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 14, 11, 2))
    banks = [Bank.drawn(2, [seed]) for seed in (0, 1)]
    found = responses(torch.from_numpy(maps).float(), banks).numpy()
    for bank, rows in zip(banks, found, strict=True):
        truth = []
        for (side, step), weights, levels in zip(KINDS, bank.weights, bank.levels, strict=True):
            K, m = levels.shape
            kernel = np.zeros((K, m, (side - 1) * step + 1, (side - 1) * step + 1))
            kernel[:, :, ::step, ::step] = weights.numpy().reshape(K, m, side, side)
            edge = (side - 1) * step // 2
            y = np.array(
                [
                    [[correlate(one[..., k], kernel[k, j]) for j in range(m)] for k in range(K)]
                    for one in maps
                ]
            )[..., edge : 14 - edge, edge : 11 - edge]
            above = y > levels.numpy()[..., None, None]
            truth += [v.mean(axis=(3, 4)).reshape(3, -1) for v in (y, abs(y), above)]
        np.testing.assert_allclose(rows, np.concatenate(truth, axis=1), atol=FLOAT32)


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
