"""Layouts of patches: the search against brute force, the seam against all paths, what is promised of copies."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from scipy.special import softmax

from hud_fast.diffusion import HUD, PRESETS, fit_scenes, patch_weights, patches
from hud_fast.diffusion.patches import OVERLAP, PATCH, Patches, _Search, beyond_seam
from hud_fast.diffusion.presets import Preset
from hud_fast.scenes import Scene, simulate_scene


@pytest.fixture(scope="module")
def abundances():  # (50, 60, 3) smooth maps, with a masked corner
    scene = simulate_scene(50, 60, C=20, D=3, seed=0)
    maps = np.array(scene.truth.abundances, dtype=np.float32)
    maps[:9, :9] = np.nan
    return maps


@pytest.fixture(scope="module")
def endmembers():
    return np.array(simulate_scene(50, 60, C=20, D=3, seed=0).truth.endmembers, dtype=np.float32)


@pytest.fixture(scope="module")
def laid(abundances, endmembers):
    return Patches.of(abundances, endmembers, seed=0)


def turned(window, turn):  # (p, p, ...): the definition that `crops` states
    i, j = np.mgrid[: len(window), : len(window)]
    last = len(window) - 1
    a, b = (j, i) if turn & 4 else (i, j)
    a, b = (last - a if turn & 1 else a), (last - b if turn & 2 else b)
    return window[a, b]


@pytest.mark.parametrize(("above", "left"), [(True, False), (False, True), (True, True)])
def test_the_best_candidate_is_the_best_of_all(laid, monkeypatch, above, left):
    monkeypatch.setattr(patches, "TEMPERATURE", 1e-9)  # no luck
    rng = np.random.default_rng(1)
    scene = laid.pictures.numpy().astype(np.float64).reshape(50, 60, -1)
    numbers = np.arange(50 * 60).reshape(50, 60)
    here, best = [], []
    for _ in range(3):
        i, j = rng.integers(15, 30, size=2)
        here.append(numbers[i : i + PATCH, j : j + PATCH])
        there = scene[i : i + PATCH, j : j + PATCH]
        known = np.zeros((PATCH, PATCH), bool)
        known[:OVERLAP] |= above
        known[:, :OVERLAP] |= left
        apart = {
            (k, turn): np.square(turned(scene[r : r + PATCH, c : c + PATCH], turn) - there)[
                known
            ].sum()
            for k, (r, c) in enumerate(laid.corners.tolist())
            if max(abs(r - i), abs(c - j)) >= PATCH  # its own place is taken
            for turn in range(8)
        }
        best.append(min(apart, key=apart.get))
        own = laid.corners.tolist().index([i, j])
        here[-1] = (here[-1], own)
    blocks = torch.tensor(np.stack([one for one, _ in here]))
    taken = [(torch.tensor([own for _, own in here]), PATCH)]
    draws = [torch.Generator().manual_seed(k) for k in range(3)]
    window, turn = _Search(laid).next(blocks, above, left, taken, draws)
    assert list(zip(window.tolist(), turn.tolist(), strict=True)) == best


def test_candidates_are_drawn_as_often_as_they_should(laid, monkeypatch):
    """Drawn 4000 times, the frequencies are those of the formula, worked out in NumPy."""
    monkeypatch.setattr(patches, "TEMPERATURE", 0.5)
    monkeypatch.setattr(patches, "SHORTLIST", 4)
    weighted = replace(laid, log_weights=torch.linspace(-1, 1, len(laid.corners)))
    search = _Search(weighted)
    numbers = torch.arange(50 * 60).view(50, 60)[20:32, 20:32]
    n = patches.GROUP
    blocks, count = numbers.expand(n, -1, -1), {}
    for k in range(4000 // n):
        draws = [torch.Generator().manual_seed(k * n + i) for i in range(n)]
        window, turn = search.next(blocks, True, False, [], draws)
        for pair in zip(window.tolist(), turn.tolist(), strict=True):
            count[pair] = count.get(pair, 0) + 1
    scene = laid.pictures.numpy().astype(np.float64).reshape(50, 60, -1)
    there = scene[20 : 20 + OVERLAP, 20 : 20 + PATCH]
    apart = np.array(
        [
            [
                np.square(turned(scene[r : r + PATCH, c : c + PATCH], t)[:OVERLAP] - there).sum()
                for t in range(8)
            ]
            for r, c in laid.corners.tolist()
        ]
    )
    least = apart.min() + search.least * OVERLAP * PATCH
    score = weighted.log_weights.numpy()[:, None] - apart / (2 * 0.5 * least)
    short = np.argsort(-score, axis=None)[:4]
    chance = np.exp(score.flat[short] - score.flat[short].max())
    chance /= chance.sum()
    drawn = np.array([count.get((int(s) // 8, int(s) % 8), 0) for s in short])
    assert drawn.sum() == 4000 // n * n  # nothing else was drawn
    # five standard deviations of a count
    assert (abs(drawn - 4000 * chance) < 5 * np.sqrt(4000 * chance * (1 - chance)) + 1).all()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_the_seam_is_the_cheapest_of_all_paths(length, width, seed):
    apart = torch.from_numpy(np.random.default_rng(seed).random((1, length, width)))
    paths = [
        path
        for path in itertools.product(range(width), repeat=length)
        if all(abs(a - b) <= 1 for a, b in itertools.pairwise(path))
    ]
    best = min(paths, key=lambda path: sum(apart[0, i, j].item() for i, j in enumerate(path)))
    expected = [[j >= at for j in range(width)] for at in best]
    assert beyond_seam(apart)[0].tolist() == expected


def test_sample_i_depends_on_its_number_only(laid):
    all_of_them = laid.layouts(range(20), (32, 32), seed=3)
    assert torch.equal(laid.layouts(range(18, 20), (32, 32), seed=3), all_of_them[18:])
    assert torch.equal(laid.layouts(range(5, 6), (32, 32), seed=3), all_of_them[5:6])
    assert not torch.equal(laid.layouts(range(5, 6), (32, 32), seed=4), all_of_them[5:6])
    assert len(all_of_them.flatten(1).unique(dim=0)) == 20


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (20, 45), (64, 33)])
def test_layouts_of_any_size_use_valid_pixels_only(laid, abundances, size):
    found = laid.layouts(range(3), size, seed=0)
    assert found.shape == (3, *size)
    assert np.isfinite(abundances.reshape(-1, 3)[found.numpy()]).all()


def largest_piece(layout, width):
    """Pixels of the largest connected area that stands in the scene as it is, in any turn."""
    row, column = np.divmod(layout, width)
    i, j = np.mgrid[: layout.shape[0], : layout.shape[1]]
    most = 0
    for swap, down, right in itertools.product((False, True), (1, -1), (1, -1)):
        a, b = (j, i) if swap else (i, j)
        offset = (row - down * a) * 1000 + (column - right * b)
        for value in np.unique(offset):
            areas, count = label(offset == value)
            if count:
                most = max(most, np.bincount(areas.ravel())[1:].max())
    return most


def test_no_piece_of_a_layout_is_larger_than_a_patch(laid):
    layouts = laid.layouts(range(12), (32, 32), seed=1).numpy()
    sizes = [largest_piece(one, 60) for one in layouts]
    assert max(sizes) <= PATCH**2
    # and the check itself sees a copy
    copy = (np.arange(32)[:, None] + 10) * 60 + np.arange(32)[None] + 20
    assert largest_piece(copy[::-1].T, 60) == 32 * 32


def test_balancing_brings_back_what_best_fits_avoid(monkeypatch):
    """Left nearly uniform, right rough: a chain of best fits ends in the uniform part, and the weights undo some."""
    rng = np.random.default_rng(0)
    waves = gaussian_filter(rng.standard_normal((48, 64, 3)), (1.5, 1.5, 0))
    waves[:, :32] *= 0.4
    monkeypatch.setattr(patch_weights, "ROUNDS", 3)
    monkeypatch.setattr(patch_weights, "TRIALS", 16)
    maps = softmax(10 * waves, axis=-1).astype(np.float32)
    spectra = rng.random((3, 12)).astype(np.float32)
    plain = Patches.of(maps, spectra, seed=0)

    def rough(one):
        used = one.layouts(range(32), (32, 32), seed=9)
        return float((used % 64 >= 32).double().mean())

    balanced = patch_weights.balanced(plain, 32)
    # measured: 0.205 without, 0.236 with
    assert rough(plain) + 0.02 < rough(balanced) < 0.55
    assert float(balanced.log_weights.abs().max()) <= 2 * patch_weights.STRONGEST


def test_a_larger_scene_has_a_choice_of_windows(abundances, endmembers, monkeypatch):
    monkeypatch.setattr(patches, "MOST_CANDIDATES", 100)
    one, other = (Patches.of(abundances, endmembers, seed=k) for k in (0, 1))
    assert len(one.corners) == 100
    assert torch.equal(one.corners, Patches.of(abundances, endmembers, seed=0).corners)
    assert not torch.equal(one.corners, other.corners)


@pytest.fixture(scope="module")
def model():
    return HUD.fit(simulate_scene(40, 40, C=30, D=3, seed=0), preset="instant", seed=0)


def test_a_model_of_patches_samples_real_abundances(model):
    cubes, maps = model.sample(5, seed=2, return_abundances=True)
    assert cubes.shape == (5, 32, 32, 30)
    real = {row.tobytes() for row in model.abundances.reshape(-1, 3)}
    assert all(row.tobytes() in real for row in maps.reshape(-1, 3))
    assert np.array_equal(model.sample(2, seed=2, first=3), cubes[3:])
    assert np.array_equal(model.sample(5, seed=2, batch_size=2), cubes)
    assert model.sample(1, size=(10, 50)).shape == (1, 10, 50, 30)
    assert model.network is None
    assert model.summary()["parameters"] == 0


def test_least_squares_is_brought_onto_the_simplex():
    scene = simulate_scene(40, 40, C=30, D=3, seed=0)
    model = HUD.fit(scene, preset="instant", encoder="linear")
    assert np.nanmin(model.abundances) < 0
    maps = model.sample_abundances(2)
    assert maps.min() >= 0
    assert abs(maps.sum(axis=-1) - 1).max() < 1e-6


@pytest.fixture(scope="module")
def guided():
    preset = replace(PRESETS["tiny"], widths=(8, 8), attention=(False, False), steps=3, batch=2)
    return HUD.fit(simulate_scene(50, 44, C=30, D=3, seed=0), preset=preset)


def test_a_guided_layout_looks_like_its_guide_from_afar(guided, abundances, endmembers, laid):
    """Guides are real blocks that are half gone in noise; layouts come nearer to the blocks than chance."""
    rng = np.random.default_rng(0)
    real = np.stack([abundances[i : i + 32, 20:52] for i in (10, 14, 18)])
    noisy = 0.5 * real + 0.5 * rng.dirichlet(np.ones(3), real.shape[:3])
    guides = torch.from_numpy(noisy.astype(np.float32))
    found = laid.layouts(range(3), (32, 32), seed=0, guides=guides).numpy()

    def afar(maps):
        return maps.reshape(3, 4, 8, 4, 8, 3).mean(axis=(2, 4))

    def apart(maps):
        return float(np.abs(afar(maps) - afar(noisy)).mean())

    pixels = abundances.reshape(-1, 3)
    alone = laid.layouts(range(3), (32, 32), seed=0).numpy()
    assert apart(pixels[found]) < 0.8 * apart(pixels[alone])
    again = laid.layouts(range(1, 3), (32, 32), seed=0, guides=guides[1:])
    assert np.array_equal(again.numpy(), found[1:])


def test_a_network_guides_and_real_pixels_follow(guided, tmp_path):
    maps = guided.sample_abundances(5, seed=1, steps=2)
    real = {row.tobytes() for row in guided.abundances.reshape(-1, 3)}
    assert all(row.tobytes() in real for row in maps.reshape(-1, 3))
    assert np.array_equal(guided.sample_abundances(2, seed=1, steps=2, first=3), maps[3:])
    guided.save(tmp_path / "model")
    again = HUD.load(tmp_path / "model")
    assert np.array_equal(again.sample_abundances(5, seed=1, steps=2), maps)
    large = guided.sample_abundances(2, size=(40, 72), tile=32, steps=2)
    assert large.shape == (2, 40, 72, 3)
    told = []
    guided.sample(3, steps=2, progress=lambda *k: told.append(k))
    assert told[-1][0] == told[-1][1]


def test_the_papers_letter_has_no_patches():
    scene = simulate_scene(40, 40, C=30, D=3, seed=0)
    preset = replace(PRESETS["tiny"], widths=(8, 8), attention=(False, False), steps=1, batch=2)
    assert HUD.fit(scene, preset=preset, raw_latent=True).patches is None
    assert PRESETS["paper"].patches == "no"


def test_each_of_several_scenes_has_its_own_patches():
    scenes = [simulate_scene(40, 40, C=30, D=3, seed=0), simulate_scene(36, 44, C=50, D=3, seed=1)]
    preset = replace(PRESETS["tiny"], widths=(8, 8), attention=(False, False), steps=1, batch=2)
    _, models = fit_scenes(scenes, preset=preset)
    for model in models:
        real = {row.tobytes() for row in model.abundances.reshape(-1, 3)}
        assert all(
            row.tobytes() in real for row in model.sample_abundances(1, steps=1)[0].reshape(-1, 3)
        )


def test_a_model_of_patches_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model")
    again = HUD.load(tmp_path / "model")
    assert np.array_equal(again.sample(3, seed=1), model.sample(3, seed=1))
    assert again.preset == PRESETS["instant"]


def test_a_model_of_a_scene_smaller_than_its_cubes_is_loaded(tmp_path):
    small = HUD.fit(simulate_scene(24, 24, C=8, D=3, seed=0), endmembers=3, preset="instant")
    small.save(tmp_path / "model")
    cubes = small.sample(1, seed=1)
    assert cubes.shape == (1, 32, 32, 8)
    assert np.array_equal(HUD.load(tmp_path / "model").sample(1, seed=1), cubes)


def test_progress_is_told(model):
    told = []
    model.sample(3, batch_size=2, progress=lambda *k: told.append(k))
    assert told[-1][0] == told[-1][1]
    assert [k for k, _ in told] == sorted(k for k, _ in told)


@pytest.mark.parametrize(("name", "value"), [("sampler", "ddim"), ("steps", 5), ("tile", 64)])
def test_what_is_of_a_network_is_refused(model, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be None for a model that lays patches"):
        model.sample(1, **{name: value})


def test_fitting_refuses_what_patches_cannot_do(model):
    scene = simulate_scene(40, 40, C=30, D=3, seed=0)
    with pytest.raises(ValueError, match="`steps` must be None with the preset instant"):
        HUD.fit(scene, preset="instant", steps=5)
    with pytest.raises(ValueError, match="`start` must be None with the preset instant"):
        HUD.fit(scene, preset="instant", start=model)
    with pytest.raises(ValueError, match="`start` must be a model with a network"):
        HUD.fit(scene, preset="tiny", steps=1, start=model)
    with pytest.raises(ValueError, match="`scenes` must be one with the preset instant"):
        fit_scenes([scene, scene], preset="instant")
    with pytest.raises(ValueError, match="`preset` must be one that trains a network"):
        fit_scenes([scene], preset="instant")
    with pytest.raises(ValueError, match="two 12 x 12 windows without masked pixels"):
        HUD.fit(Scene(scene.cube[:11, :20]), endmembers=3, preset="instant")


def test_a_scene_barely_larger_than_a_patch_still_works():
    scene = simulate_scene(40, 40, C=30, D=3, seed=0)
    small = HUD.fit(Scene(scene.cube[:14, :15]), endmembers=3, preset="instant")
    assert small.sample(2).shape == (2, 32, 32, 30)


def test_the_preset_says_what_does_not_go_together():
    with pytest.raises(ValueError, match="`steps` must be 0 with patches = alone, got 3000"):
        replace(PRESETS["tiny"], patches="alone")
    with pytest.raises(ValueError, match="`patches` must be one of no, guided, alone, got sand"):
        replace(PRESETS["tiny"], patches="sand")
    settings = PRESETS["instant"].to_dict()
    assert Preset.from_dict(settings) == PRESETS["instant"]
    settings.pop("patches")  # saved before there was a choice
    assert Preset.from_dict({**settings, "steps": 1}).patches == "no"
