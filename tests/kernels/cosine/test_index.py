"""CosineIndex: the answers of cosine_max, from one build; kept, copied, saved, asked by many threads."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch

import hud_fast as hud
from hud_fast.kernels.cosine.host import search
from hud_fast.kernels.cosine.tree import last_plan

C, D = 40, 4


@pytest.fixture(scope="module")
def scene():
    return hud.simulate_scene(60, 70, C=C, D=D, seed=0)


@pytest.fixture(scope="module")
def shares():
    return oracles.random_simplex(np.random.default_rng(0), 3000, D)


@pytest.fixture(scope="module")
def index(scene):
    return hud.CosineIndex(scene.cube, endmembers=scene.truth.endmembers)


def brute(query, cube):
    rows = torch.from_numpy(np.ascontiguousarray(cube.reshape(-1, C)))
    value, row = search(torch.from_numpy(np.ascontiguousarray(query)), rows, plan="brute")
    return value.numpy(), row.numpy()


def test_searches_give_what_brute_force_gives(scene, shares, index):
    query = shares @ scene.truth.endmembers
    value, row = index.search(query)
    assert last_plan() == "tree: span"
    assert isinstance(value, np.ndarray)
    expected, at = brute(query, scene.cube)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(row, at)
    mixed, place = index.search_mixtures(shares)
    np.testing.assert_allclose(mixed, oracles.cosine_max(query, scene.pixels)[0], atol=1e-13)
    assert (place == at).mean() > 0.999
    lead, _ = index.search_mixtures(torch.from_numpy(shares).reshape(30, 100, D))
    assert lead.shape == (30, 100)
    np.testing.assert_array_equal(lead.numpy().ravel(), mixed)


def test_foreign_and_wild_queries(scene, index):
    rng = np.random.default_rng(1)
    wild = rng.normal(size=(400, C))
    own = hud.CosineIndex(scene.cube)
    for query in (wild, scene.pixels[:400], scene.pixels[:7]):
        expected, at = brute(query, scene.cube)
        for asked in (index, own):
            value, row = asked.search(query)
            np.testing.assert_array_equal(value, expected)
            np.testing.assert_array_equal(row, at)


def test_an_index_without_endmembers_builds_its_tree_when_asked_enough():
    cube = hud.simulate_scene(150, 200, C=C, D=D, seed=2).cube
    rng = np.random.default_rng(3)
    query = cube.reshape(-1, C)[rng.integers(0, 30_000, 4000)]
    query = query * (1 + 0.001 * rng.normal(size=query.shape)).astype(np.float32)
    own = hud.CosineIndex(cube)
    own.search(query[:2])
    assert last_plan() == "brute"
    value, row = own.search(query)
    assert last_plan() in ("tree: scene", "tree: bands")
    again, _ = own.search(query[:50])
    assert last_plan() in ("tree: scene", "tree: bands")  # it is there now
    expected, at = brute(query, cube)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(row, at)
    np.testing.assert_array_equal(again, expected[:50])


def test_masked_zero_and_non_finite_rows_take_no_part(scene):
    cube = scene.cube.copy()
    mask = np.ones(cube.shape[:2], dtype=bool)
    mask[3, 5:] = False
    cube[4, 7] = 0
    cube[5, 8, 2] = np.nan
    index = hud.CosineIndex(cube, mask=mask, endmembers=scene.truth.endmembers)
    assert index.counts == {"pixels": 4200, "masked": 65, "nonfinite": 1, "zero": 1}
    query = np.concatenate([scene.cube[3, 5:], scene.cube[4, 7:8], scene.cube[5, 8:9]])
    blank = np.where(mask[..., None], cube, 0)
    expected, at = brute(query, blank)
    for asked in (query, np.tile(query, (50, 1))):
        value, row = index.search(asked)
        np.testing.assert_array_equal(value, np.tile(expected, len(asked) // len(query)))
        np.testing.assert_array_equal(row, np.tile(at, len(asked) // len(query)))
    value, row = index.search(np.array([np.zeros(C), np.full(C, np.inf)]))
    assert (value[0], row[0], row[1]) == (0, 0, -1)
    assert np.isnan(value[1])


def test_the_index_keeps_its_own_copy(scene, shares):
    cube = scene.cube.copy()
    index = hud.CosineIndex(cube, endmembers=scene.truth.endmembers)
    before = index.search_mixtures(shares)[0]
    cube[:] = 1
    np.testing.assert_array_equal(index.search_mixtures(shares)[0], before)


def test_pickled_saved_and_loaded(scene, shares, index, tmp_path):
    query = scene.pixels[::50] + np.float32(0.01)
    expected = [*index.search(query), *index.search_mixtures(shares)]
    index.save(tmp_path / "index.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["index.safetensors"]
    for other in (
        pickle.loads(pickle.dumps(index)),
        hud.CosineIndex.load(tmp_path / "index.safetensors"),
    ):
        assert repr(other) == repr(index) == "CosineIndex(4200 spectra of 40 bands, 4 endmembers)"
        assert (other.shape, len(other), other.counts) == (index.shape, 4200, index.counts)
        got = [*other.search(query), *other.search_mixtures(shares)]
        assert last_plan() == "tree: span"
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_damaged_and_foreign_files(index, tmp_path):
    path = tmp_path / "index.safetensors"
    index.save(path)
    good = path.read_bytes()
    refused = r"CosineIndex.load: `path` must be a file that CosineIndex.save wrote, got .*"
    rng = np.random.default_rng(0)
    at = int(rng.integers(len(good) // 2, len(good)))
    flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    for data in (good[: len(good) // 2], b"", b"not an index", good[8:], flipped):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=refused):
            hud.CosineIndex.load(path)
    from safetensors.torch import save_file

    save_file({"reference": torch.ones(2, 2)}, path)
    with pytest.raises(ValueError, match=refused + "it was written by something else"):
        hud.CosineIndex.load(path)
    with pytest.raises(FileNotFoundError):
        hud.CosineIndex.load(tmp_path / "none")


def test_a_failed_save_leaves_the_old_file(index, tmp_path, monkeypatch):
    path = tmp_path / "index.safetensors"
    index.save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        index.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["index.safetensors"]


def test_concurrent_searches(scene, shares):
    """Also while the second tree is being built."""
    index = hud.CosineIndex(scene.cube, endmembers=scene.truth.endmembers)
    rng = np.random.default_rng(0)
    noisy = np.tile(scene.pixels, (4, 1)) * (1 + 0.01 * rng.normal(size=(4 * 4200, C)))
    expected = brute(noisy, scene.cube)[0], index.search_mixtures(shares)[0]
    got: list[bool] = []

    def ask() -> None:
        for _ in range(3):
            got.append(np.array_equal(index.search(noisy)[0], expected[0]))
            got.append(np.array_equal(index.search_mixtures(shares)[0], expected[1]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True] * 24


def test_memory_limit(scene, shares):
    index = hud.CosineIndex(scene.cube, endmembers=scene.truth.endmembers, memory_limit=12 << 20)
    free = hud.CosineIndex(scene.cube, endmembers=scene.truth.endmembers)
    np.testing.assert_array_equal(index.search_mixtures(shares)[0], free.search_mixtures(shares)[0])
    with pytest.raises(
        ValueError, match=r"CosineIndex: `memory_limit` must be at least .* got 1000"
    ):
        hud.CosineIndex(scene.cube, memory_limit=1000)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (33, 1), (2, 3)])
def test_tiny_references(shape):
    rng = np.random.default_rng(0)
    reference, query = rng.normal(size=shape), rng.normal(size=(20, shape[1]))
    index = hud.CosineIndex(reference, endmembers=reference[:1])
    value, _ = index.search(query)
    np.testing.assert_allclose(value, oracles.cosine_max(query, reference)[0], atol=4e-15)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: hud.CosineIndex(np.ones(3)),
            ValueError,
            r"`reference` must have shape \(\.\.\., C\) .* got \(3,\)",
        ),
        (
            lambda: hud.CosineIndex(np.zeros((4, 3))),
            ValueError,
            "at least one finite, non-zero row, got none among 4",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), mask=np.zeros(4, bool)),
            ValueError,
            "non-zero row that the mask keeps, got none among 4",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), mask=np.zeros(4)),
            TypeError,
            "`mask` must be boolean .*, got float64",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), mask=np.zeros(3, bool)),
            ValueError,
            r"`mask` must have the shape \(4,\) .* got \(3,\)",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), endmembers=np.ones((2, 4))),
            ValueError,
            r"`endmembers` must have shape \(D, C\) with C = 3 as in `reference`, got \(2, 4\)",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), endmembers=np.full((2, 3), np.nan)),
            ValueError,
            "`endmembers` must be finite",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), endmembers=np.zeros((2, 3))),
            ValueError,
            "`endmembers` must not all be zero",
        ),
        (
            lambda: hud.CosineIndex(torch.ones(4, 3, device="meta")),
            RuntimeError,
            "`reference` must be on the CPU, got device meta",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3))).search(np.ones((2, 4))),
            ValueError,
            r"search: `query` must have shape \(\.\.\., C\) with C = 3 as in `reference`, got \(2, 4\)",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3))).search_mixtures(np.ones((2, 4))),
            ValueError,
            "search_mixtures: the index must have been built with `endmembers`",
        ),
        (
            lambda: hud.CosineIndex(np.ones((4, 3)), endmembers=np.eye(3)).search_mixtures(
                np.ones(2)
            ),
            ValueError,
            r"search_mixtures: `abundances` must have shape \(\.\.\., D\) with D = 3",
        ),
        (
            lambda: hud.CosineIndex([[1.0, 2.0]]),
            TypeError,
            "`reference` must be a numpy array or a torch tensor, got list",
        ),
    ],
)
def test_errors_name_the_argument(make, error, match):
    with pytest.raises(error, match=f"CosineIndex.*{match}"):
        make()
