"""LabelledCubes against the model that they are of, in every order and way of loading."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import hud_fast as hud
from hud_fast.pipeline.cubes import write_cubes
from hud_fast.pipeline.labelled_cubes import FAR

SCENE = hud.simulate_scene(24, 24, C=12, D=3, seed=0)
assert SCENE.truth is not None
MOST = SCENE.truth.abundances.argmax(axis=-1)
# two of the three endmembers, where there is little of others
LABELS = np.where(SCENE.truth.abundances.max(axis=-1) > 0.6, np.array([2, 0, 7])[MOST], 0)
SIZE = (8, 12)


@pytest.fixture(scope="module", autouse=True)
def few_trials() -> Iterator[None]:
    """Patches weighed for classes by two trial blocks: what is asked for is not what is tested here."""
    from hud_fast.diffusion import patch_weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_weights, "STEERING_ROUNDS", 1)
        patch.setattr(patch_weights, "STEERING_TRIALS", 2)
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    names = ["class 1", "soil"]
    return hud.HUD.fit(
        SCENE, endmembers=3, preset="instant", device="cpu", labels=LABELS, label_names=names
    )


@pytest.fixture(scope="module")
def truth(model: Any) -> tuple[Any, Any]:
    """Images and masks of the first ten items, seed 3."""
    cubes, maps = model.sample(10, seed=3, size=SIZE, classes=True, residuals=True)
    place = {0: 0, 2: 1, 7: 2}
    masks = np.array([place[int(k)] for k in maps.ravel()]).reshape(maps.shape)
    assert set(masks.ravel()) >= {1, 2}
    return torch.from_numpy(cubes).permute(0, 3, 1, 2), torch.from_numpy(masks)


def pairs_of(model: Any, **options: Any) -> hud.LabelledCubes:
    return hud.LabelledCubes(model, 10, seed=3, size=SIZE, **options)


def test_items_are_samples_of_the_model(model: Any, truth: Any) -> None:
    pairs = pairs_of(model)
    assert len(pairs) == 10
    assert pairs.classes == ("no class", "soil", "class 7")
    assert (pairs.numbers, pairs.ignore_index) == ((0, 2, 7), 0)
    for order in (range(10), [7, 2, 3, 9, 0, 2, -1]):
        for i in order:
            sample = pairs[i]
            assert torch.equal(sample["image"], truth[0][i])
            assert torch.equal(sample["mask"], truth[1][i])
            assert sample["image"].is_contiguous()
            assert sample["image"].dtype == torch.float32
            assert sample["mask"].dtype == torch.int64
            np.testing.assert_allclose(sample["wavelengths"], model.wavelengths, rtol=1e-6)
    with pytest.raises(IndexError, match="below 10, got 10"):
        pairs[10]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_gives_the_same_items(model: Any, truth: Any, workers: int, shuffle: bool) -> None:
    loader = DataLoader(
        pairs_of(model, as_tuple=True),
        batch_size=4,
        shuffle=shuffle,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
    seen = [pair for images, masks in loader for pair in zip(images, masks, strict=True)]
    order = [next(i for i in range(10) if torch.equal(truth[0][i], one)) for one, _ in seen]
    assert sorted(order) == list(range(10))
    assert (order == list(range(10))) is not shuffle
    assert all(torch.equal(truth[1][i], mask) for i, (_, mask) in zip(order, seen, strict=True))


def test_items_in_turn_are_made_together(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    made = type(model).sample

    def counted(self: Any, n: int, **options: Any) -> Any:
        counts.append(n)
        return made(self, n, **options)

    monkeypatch.setattr(type(model), "sample", counted)
    pairs = pairs_of(model)
    for i in range(10):
        pairs[i]
    assert sum(counts) == 10
    assert len(counts) < 5
    counts.clear()
    for i in (8, 1, 5):
        pairs_of(model)[i]
    assert counts == [1, 1, 1]


def test_classes_in_turn(model: Any) -> None:
    pairs = pairs_of(model, balanced=True)
    for k, number in enumerate((2, 7)):
        cubes, maps = model.sample(
            2, seed=3, size=SIZE, first=k * FAR, classes={number: None}, residuals=True
        )
        for j in range(2):
            sample = pairs[2 * j + k]
            np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), cubes[j])
            np.testing.assert_array_equal(sample["mask"] == k + 1, maps[j] == number)
    batch = pairs.__getitems__([3, 0, 1])
    assert all(
        torch.equal(one["image"], pairs[i]["image"])
        for one, i in zip(batch, (3, 0, 1), strict=True)
    )
    cubes, _ = model.sample(1, seed=3, size=SIZE, first=4, classes={7: 0.8}, residuals=True)
    one = pairs_of(model, classes={7: 0.8})[4]
    np.testing.assert_array_equal(one["image"].permute(1, 2, 0), cubes[0])


def test_copies_of_a_set(model: Any, truth: Any, tmp_path: Path) -> None:
    pairs = pairs_of(model)
    pairs[0]
    again = pickle.loads(pickle.dumps(pairs))
    assert torch.equal(again[5]["image"], truth[0][5])
    model.save(tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        assert torch.equal(pairs_of(folder)[5]["mask"], truth[1][5])


def test_transforms_take_samples(model: Any, truth: Any) -> None:
    def turned(sample: Any) -> Any:
        return sample | {"image": sample["image"].flip(-1), "mask": sample["mask"].flip(-1)}

    image, mask = pairs_of(model, transform=turned, as_tuple=True)[1]
    assert torch.equal(image, truth[0][1].flip(-1))
    assert torch.equal(mask, truth[1][1].flip(-1))


def test_a_written_set(model: Any, truth: Any, tmp_path: Path) -> None:
    cubes, maps = model.sample(10, seed=3, size=SIZE, classes=True, residuals=True)
    scene = hud.Scene(cubes[0], scale=10.0)
    write_cubes(
        tmp_path / "generated", cubes, scene, kind="npy", labels=maps, classes={2: "soil", 7: "x"}
    )
    for folder in (tmp_path, tmp_path / "generated"):
        pairs = hud.LabelledCubes.from_folder(folder, wavelengths=model.wavelengths)
        assert len(pairs) == 10
        assert pairs.classes == ("no class", "soil", "x")
        again = pickle.loads(pickle.dumps(pairs))
        assert len(pickle.dumps(pairs)) < cubes.nbytes
        for one in (pairs[4], again[4]):
            torch.testing.assert_close(one["image"], truth[0][4] * 10)
            assert torch.equal(one["mask"], truth[1][4])
            assert one["wavelengths"].shape == (12,)
    loader = DataLoader(pairs, batch_size=5, num_workers=2)
    batches = list(loader)
    assert torch.equal(torch.cat([batch["mask"] for batch in batches]), truth[1])
    np.save(tmp_path / "generated" / "maps.npy", np.where(maps == 7, 9, maps))
    strange = hud.LabelledCubes.from_folder(tmp_path)
    index = int(np.argmax((maps == 7).any(axis=(1, 2))))
    with pytest.raises(
        ValueError, match=rf"item {index} must hold the classes .0, 2, 7., got \[9\]"
    ):
        strange[index]
    np.save(tmp_path / "generated" / "maps.npy", maps[:3])
    with pytest.raises(ValueError, match=r"got \(10, 8, 12, 12\), \(3, 8, 12\)"):
        hud.LabelledCubes.from_folder(tmp_path)
    (tmp_path / "generated" / "classes.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"classes\.json must name classes by number"):
        hud.LabelledCubes.from_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"must hold generated\.npy, maps\.npy"):
        hud.LabelledCubes.from_folder(tmp_path / "none")


def test_errors(model: Any) -> None:
    plain = hud.HUD.fit(
        hud.simulate_scene(16, 16, C=8, D=3), endmembers=3, preset="instant", device="cpu"
    )
    with pytest.raises(ValueError, match="`model` must be one with classes, fit it with labels"):
        pairs_of(plain)
    with pytest.raises(TypeError, match="`model` must be a HUD or a folder of one, got int"):
        pairs_of(3)
    for length, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="`length` must be"):
            hud.LabelledCubes(model, length)
    with pytest.raises(ValueError, match="`classes` must be of soil"):
        pairs_of(model, classes={"mud": 0.5})
    with pytest.raises(ValueError, match="`classes` must be a sequence or None where"):
        pairs_of(model, classes={2: 0.5}, balanced=True)
    with pytest.raises(TypeError, match="`transform` must be callable, got int"):
        pairs_of(model, transform=3)
    with pytest.raises(ValueError, match="`size` must"):
        hud.LabelledCubes(model, 10, size=2)
