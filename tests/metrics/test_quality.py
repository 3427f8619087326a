"""Quality: every row's values against independent truths, copies found, noise told from structure, masks, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from hud_fast.kernels import fcls
from hud_fast.metrics import Quality, quality
from hud_fast.scenes import load_scene
from hud_fast.unmixing import vca

D, C, SIDE = 3, 12, 8


def field(seed: int, H: int, W: int) -> np.ndarray:
    """Smooth abundances (H, W, D) with exact zeros."""
    rng = np.random.default_rng(seed)
    waves = gaussian_filter(rng.normal(size=(H, W, D)), (1.5, 1.5, 0), mode="wrap")
    x = np.maximum(waves / waves.std() + 0.4, 0)
    x[..., 0] += x.sum(axis=-1) == 0
    return x / x.sum(axis=-1, keepdims=True)


ENDMEMBERS = np.random.default_rng(7).random((D, C)) + 0.2


def cube_of(maps: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    cube = maps @ ENDMEMBERS
    return cube + noise * np.random.default_rng(seed).normal(size=cube.shape)


TRAINING_MAPS, HELD_OUT_MAPS, OTHER_MAPS = (field(seed, 24, 20) for seed in range(3))
TRAINING, HELD_OUT = cube_of(TRAINING_MAPS, 0.004, 1), cube_of(HELD_OUT_MAPS, 0.004, 2)
OPTIONS: dict[str, Any] = {"count": 24, "bootstrap": 100}


def cut(maps: np.ndarray, count: int = 16, seed: int = 0) -> np.ndarray:  # (count, SIDE, SIDE, D)
    rng = np.random.default_rng(seed)
    H, W = maps.shape[:2]
    places = zip(
        rng.integers(0, H - SIDE + 1, count), rng.integers(0, W - SIDE + 1, count), strict=True
    )
    return np.stack([maps[r : r + SIDE, c : c + SIDE] for r, c in places])


def fcls_windows(cube: np.ndarray) -> np.ndarray:  # (n, SIDE, SIDE, D)
    """The exact abundances of every window."""
    solved = fcls(cube, ENDMEMBERS)
    windows = np.lib.stride_tricks.sliding_window_view(solved, (SIDE, SIDE), axis=(0, 1))
    return windows.transpose(0, 1, 3, 4, 2).reshape(-1, SIDE, SIDE, D)


def measure(maps: np.ndarray, cubes: np.ndarray | None = None, **options: Any) -> Quality:
    cubes = cube_of(maps) if cubes is None else cubes
    return quality(cubes, maps, TRAINING, HELD_OUT, ENDMEMBERS, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def honest() -> Quality:
    """Blocks of the same kind as either half, from neither."""
    return measure(cut(OTHER_MAPS))


def test_spectra_and_windows_are_those_of_the_definition(honest: Quality) -> None:
    cubes = cube_of(cut(OTHER_MAPS))
    row = honest.generated
    cosine, _ = oracles.cosine_max(cubes.reshape(-1, C), TRAINING.reshape(-1, C))
    assert row.point_fidelity is not None
    assert row.point_fidelity.value == pytest.approx(cosine.mean(), rel=1e-12)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    assert row.angle_to_training is not None
    assert row.angle_to_training.value == pytest.approx(angle, rel=1e-6)
    cosine, _ = oracles.cosine_max(cubes.reshape(-1, C), HELD_OUT.reshape(-1, C))
    assert row.angle_to_held_out is not None
    assert row.angle_to_held_out.value == pytest.approx(
        np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean(), rel=1e-6
    )
    unit = TRAINING / np.linalg.norm(TRAINING, axis=-1, keepdims=True)
    best = []
    for block in cubes / np.linalg.norm(cubes, axis=-1, keepdims=True):
        scores = [
            (unit[r : r + SIDE, c : c + SIDE] * block).sum(axis=-1).mean()
            for r in range(24 - SIDE + 1)
            for c in range(20 - SIDE + 1)
        ]
        best.append(max(scores))
    assert row.block_diversity is not None
    assert row.ratio is not None
    assert row.block_diversity.value == pytest.approx(np.mean(best), rel=1e-12)
    assert row.ratio.value == pytest.approx(
        row.block_diversity.value / row.point_fidelity.value, rel=1e-12
    )


def test_maps_are_compared_with_the_held_out_halfs_exact_abundances() -> None:
    # All windows are drawn, so that the truth knows which.
    found = measure(cut(OTHER_MAPS), count=10_000)
    real = fcls_windows(HELD_OUT)
    assert found.held_out.blocks == len(real)
    row, maps = found.generated, cut(OTHER_MAPS)
    for d in range(D):
        truth = wasserstein_distance(maps[..., d].ravel(), real[..., d].ravel())
        assert row.histogram_distance.each[d].value == pytest.approx(truth, abs=2e-4)
        assert row.near_zeros.each[d].value == pytest.approx((maps[..., d] <= 1e-3).mean())
        assert np.allclose(
            found.held_out.power[d],
            np.mean([oracles.radial_power(x) for x in real[..., d]], axis=0),
        )
    mean = np.mean([one.value for one in row.histogram_distance.each])
    assert row.histogram_distance.mean.value == pytest.approx(mean)
    p, q = row.power, found.held_out.power
    floor = 0.01 * q.mean(axis=0)
    decibel = 10 * np.log10((p + floor) / (q + floor))
    truth = np.sqrt((decibel**2).mean(axis=1))
    assert np.allclose([one.value for one in row.spectrum_distance.each], truth)


def test_what_is_trivial_is_none(honest: Quality) -> None:
    training, held_out = honest.training, honest.held_out
    for name in ("point_fidelity", "block_diversity", "ratio", "angle_to_training"):
        assert getattr(training, name) is None
        assert getattr(honest.generated, name) is not None
        assert getattr(held_out, name) is not None
    assert held_out.angle_to_held_out is None
    assert training.angle_to_held_out is not None
    assert held_out.copies is not None
    assert held_out.copies.nearer is None


def test_every_interval_holds_its_value(honest: Quality) -> None:
    def check(entry: Any) -> int:
        if isinstance(entry, dict) and "interval" in entry and "value" in entry:
            low, high = entry["interval"]
            assert low - 1e-12 <= entry["value"] <= high + 1e-12
            return 1
        if isinstance(entry, dict):
            return sum(check(value) for value in entry.values())
        return sum(check(value) for value in entry) if isinstance(entry, list) else 0

    found = honest.to_dict()
    assert sum(check(found[row]) for row in ("generated", "held_out", "training")) > 30


def test_more_blocks_give_narrower_intervals() -> None:
    few, many = (measure(cut(OTHER_MAPS, count)).generated for count in (6, 96))
    for name in ("point_fidelity", "block_diversity", "angle_to_held_out"):
        a, b = getattr(few, name), getattr(many, name)
        assert b.high - b.low < 0.6 * (a.high - a.low), name


def test_a_memoriser_is_found_and_an_honest_generator_is_not(honest: Quality) -> None:
    memoriser = measure(cut(TRAINING_MAPS))
    turned = measure(np.rot90(cut(TRAINING_MAPS), axes=(1, 2)).copy())
    for found in (memoriser, turned):
        assert found.generated.copies is not None
        assert found.generated.copies.near_copies == 16
        assert found.generated.copies.conclusive
        assert found.generated.copies.nearer is not None
        assert found.generated.copies.nearer.value == pytest.approx(1)
    assert honest.training.copies is not None  # the row that says what a memoriser would score
    assert honest.training.copies.share.value == pytest.approx(1)
    assert honest.training.copies.nearer is not None
    assert honest.training.copies.nearer.value == pytest.approx(1)
    assert memoriser.generated.ratio is not None
    assert memoriser.generated.ratio.value > 0.9999
    assert honest.generated.copies is not None
    assert honest.generated.copies.near_copies <= 3
    assert honest.generated.copies.nearer is not None
    assert honest.generated.copies.nearer.value <= 0.2
    assert honest.generated.copies.largest_similarity < 0.999


def test_noise_has_a_worse_spectrum_than_real_structure_though_the_same_histogram(
    honest: Quality,
) -> None:
    maps = cut(OTHER_MAPS)
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(SIDE * SIDE), (len(maps), 1)), axis=1)
    flat = maps.reshape(len(maps), -1, D)
    noise = np.take_along_axis(flat, order[..., None], axis=1).reshape(maps.shape)
    found = measure(noise).generated
    assert found.spectrum_distance.mean.value > 3 * honest.generated.spectrum_distance.mean.value
    assert found.spectrum_distance.mean.low > honest.generated.spectrum_distance.mean.high
    assert found.histogram_distance.mean.value == pytest.approx(
        honest.generated.histogram_distance.mean.value
    )
    assert honest.held_out.spectrum_distance.mean.value < found.spectrum_distance.mean.low


def test_the_held_out_blocks_themselves_have_no_distance() -> None:
    maps = fcls_windows(HELD_OUT)
    found = measure(maps, count=len(maps))
    assert found.generated.histogram_distance.mean.value == pytest.approx(0, abs=1e-12)
    assert found.generated.spectrum_distance.mean.value == pytest.approx(0, abs=1e-9)
    assert found.generated.histogram_distance.mean.low <= 1e-12


def test_a_memoriser_is_at_the_floor_of_the_training_half_and_the_rows_agree() -> None:
    found = measure(fcls_windows(TRAINING), count=10_000)
    row = found.generated
    assert row.histogram_to_training.mean.value == pytest.approx(0, abs=1e-12)
    assert row.spectrum_to_training.mean.value == pytest.approx(0, abs=1e-9)
    assert row.histogram_distance.mean.value == pytest.approx(
        found.training.histogram_distance.mean.value
    )
    # W1 is symmetric.
    assert found.held_out.histogram_to_training.mean.value == pytest.approx(
        found.training.histogram_distance.mean.value
    )
    # One half of a half's blocks against the other half.
    floor = found.training.histogram_to_training.mean.value
    assert 0 < floor < 0.5 * found.training.histogram_distance.mean.value


def test_the_seed_decides_and_tensors_are_as_good_as_arrays() -> None:
    maps = cut(OTHER_MAPS, 4)
    one = measure(maps, bootstrap=20).to_dict()
    assert measure(maps, bootstrap=20).to_dict() == one
    assert measure(maps, bootstrap=20, seed=1).to_dict() != one
    tensors = quality(
        torch.from_numpy(cube_of(maps)),
        torch.from_numpy(maps),
        torch.from_numpy(TRAINING),
        torch.from_numpy(HELD_OUT),
        torch.from_numpy(ENDMEMBERS),
        **{**OPTIONS, "bootstrap": 20},
    )
    assert tensors.to_dict() == one


def test_the_result_is_json_with_settings(honest: Quality) -> None:
    found = honest.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["settings"]["block"] == [SIDE, SIDE]
    assert found["settings"]["bootstrap"] == 100
    assert len(found["frequencies"]) == len(found["generated"]["power"][0]) == SIDE // 2
    assert len(found["histogram_edges"]) == len(found["generated"]["histogram"][0]) + 1
    none = measure(cut(OTHER_MAPS, 2), bootstrap=0).to_dict()
    assert none["generated"]["point_fidelity"]["interval"] is None
    with pytest.raises(AttributeError):
        honest.count = 3  # type: ignore[misc]
    assert replace(honest, notes=("x",)).to_dict()["notes"] == ["x"]


def test_progress_goes_up_to_its_end() -> None:
    seen: list[int] = []
    measure(cut(OTHER_MAPS, 2), bootstrap=0, progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 1000


def test_masked_and_missing_pixels_are_left_out(honest: Quality) -> None:
    # Wider halves whose added columns are masked or missing: nothing changes but the blocks' positions.
    wide, wide_held_out = (np.pad(cube, ((0, 0), (0, 12), (0, 0))) for cube in (TRAINING, HELD_OUT))
    wide[:, 20:] = cube_of(cut(OTHER_MAPS))[0, 0, 0]  # would be found: a generated pixel
    mask = np.ones((24, 32), bool)
    mask[:, 20:] = False
    wide_held_out[:, 20:] = np.nan
    maps = cut(OTHER_MAPS)
    found = quality(
        cube_of(maps), maps, wide, wide_held_out, ENDMEMBERS, training_mask=mask, **OPTIONS
    )
    for name in ("point_fidelity", "block_diversity", "angle_to_training", "angle_to_held_out"):
        assert getattr(found.generated, name).value == pytest.approx(
            getattr(honest.generated, name).value, rel=1e-12
        )
    assert np.isfinite(found.held_out.power).all()
    assert found.held_out.blocks == 24


def test_a_half_without_room_for_the_copy_check_is_told() -> None:
    # 5 windows, all of which hold every block's centre.
    maps = cut(OTHER_MAPS, 2)
    found = quality(
        cube_of(maps), maps, TRAINING[:8, :12], HELD_OUT, ENDMEMBERS, **{**OPTIONS, "bootstrap": 0}
    )
    assert found.generated.copies is None
    assert "must have room for two blocks of 8 x 8" in found.notes[0]


MAPS = cut(OTHER_MAPS, 2)
CUBES = cube_of(MAPS)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"cubes": CUBES[0]}, ValueError, r"`cubes` must have shape \(B, h, w, C\) with B >= 2"),
        ({"cubes": CUBES[:1], "abundances": MAPS[:1]}, ValueError, r"B >= 2 .* got \(1, 8, 8, 12\)"),
        ({"cubes": CUBES[:, :3], "abundances": MAPS[:, :3]}, ValueError, r"h, w >= 4, got"),
        ({"cubes": np.where(CUBES > 1, np.nan, CUBES)}, ValueError, r"`cubes` must be finite"),
        ({"cubes": "cubes"}, TypeError, r"`cubes` must be a numpy array or a torch tensor"),
        ({"abundances": MAPS[..., :2]}, ValueError, r"`abundances` must have shape \(2, 8, 8, 3\)"),
        ({"abundances": 2 * MAPS}, ValueError, r"`abundances` must be finite and lie in \[0, 1\]"),
        ({"endmembers": ENDMEMBERS[:, :5]}, ValueError, r"`endmembers` must have shape \(D, C\)"),
        ({"endmembers": np.nan * ENDMEMBERS}, ValueError, r"`endmembers` must be finite"),
        ({"training": TRAINING[0]}, ValueError, r"`training` must have shape \(H, W, C\)"),
        ({"held_out": HELD_OUT[..., :5]}, ValueError, r"`held_out` must have shape \(H, W, C\) with C = 12"),
        ({"held_out": HELD_OUT[:8, :9]}, ValueError, r"`held_out` must hold at least 4 windows of 8 x 8"),
        ({"training": TRAINING[:6]}, ValueError, r"`training` must hold .* got 6 x 20"),
        ({"training_mask": np.zeros((24, 20), bool)}, ValueError, r"`training` must hold at least one valid"),
        ({"held_out_mask": np.ones((3, 3), bool)}, ValueError, r"`held_out_mask` must have"),
        ({"training_mask": np.ones((24, 20))}, TypeError, r"`training_mask` must be boolean"),
        ({"count": 3}, ValueError, r"`count` must be at least 4, got 3"),
        ({"bootstrap": -1}, ValueError, r"`bootstrap` must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, r"`seed` must be an int"),
    ],
)  # fmt: skip
def test_bad_input(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {
        "cubes": CUBES,
        "abundances": MAPS,
        "training": TRAINING,
        "held_out": HELD_OUT,
        "endmembers": ENDMEMBERS,
        **changes,
    }
    with pytest.raises(error, match=text):
        quality(**arguments)


def test_samson(data_dir: Any) -> None:
    """Real blocks of the training half are told from real blocks of the other."""
    scene = load_scene(data_dir / "samson" / "samson_1.mat")
    training, held_out = scene.cube[:47], scene.cube[47:]
    endmembers = vca(training, 6, seed=0, best_of=8, criterion="residual")
    solved = fcls(training, endmembers)
    rng = np.random.default_rng(0)
    places = zip(rng.integers(0, 16, 12), rng.integers(0, 64, 12), strict=True)
    maps = np.stack([solved[r : r + 32, c : c + 32] for r, c in places])
    found = quality(maps @ endmembers, maps, training, held_out, endmembers, bootstrap=200)
    for row in (found.generated, found.training):
        assert row.copies is not None
        assert row.copies.near_copies == row.blocks
        assert row.copies.nearer is not None
        assert row.copies.nearer.value == pytest.approx(1)
    real = found.held_out
    assert real.copies is not None
    assert real.copies.share.value < 0.7
    assert real.point_fidelity is not None
    assert real.point_fidelity.value > 0.999
    # One half of the held-out blocks is nearer to the other than those that trained are.
    assert real.histogram_distance.mean.high < found.training.histogram_distance.mean.low
    assert real.spectrum_distance.mean.value < found.training.spectrum_distance.mean.low
