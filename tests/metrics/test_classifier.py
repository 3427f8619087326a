"""The scene's classifier: what it learns, its shapes, that layout counts or does not, storage, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.diffusion.checkpoint import DamagedFileError, read_tensors, write_tensors
from hud_fast.metrics import Accuracy, SceneClassifier

Array = NDArray[np.float32]


def fields(seed: int, H: int = 24, W: int = 20, K: int = 3) -> tuple[Array, NDArray[np.int64]]:
    """Stripes of K materials in 6 bands with noise, some pixels unlabelled."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(H)[:, None] // 4 + np.zeros((1, W), int)) % K + 1
    spectra = np.random.default_rng(0).uniform(100, 900, (K, 6))
    cube = spectra[labels - 1] + rng.normal(0, 30, (H, W, 6))
    labels[rng.random((H, W)) < 0.2] = 0
    return cube.astype(np.float32), labels


@pytest.fixture(scope="module")
def window() -> SceneClassifier:
    return SceneClassifier.fit(*fields(1), steps=25, batch=2, seed=3)


@pytest.fixture(scope="module")
def pixel() -> SceneClassifier:
    cube, labels = fields(1)
    return SceneClassifier.fit(
        cube / 500 - 1, labels, kind="pixel", background=True, layers=1, steps=4, batch=64
    )


def test_learns_materials_that_can_be_told_apart(window: SceneClassifier) -> None:
    cube, labels = fields(2)
    found = window.accuracy(cube, labels)
    assert found.right > 0.95
    sizes = np.bincount(labels[labels > 0])
    assert found.pixels == sizes.sum()
    assert found.largest == pytest.approx(sizes.max() / sizes.sum())
    assert window.accuracies["training"] == window.accuracy(*fields(1))
    guess = np.array(window.classes)[window.probabilities(cube[None])[0].argmax(-1).numpy()]
    assert found.right == pytest.approx((guess == labels)[labels > 0].mean())


def test_a_class_that_was_not_learned_is_never_found(window: SceneClassifier) -> None:
    cube, labels = fields(2)
    found = window.accuracy(cube, np.where(labels > 0, 9, 0))
    assert (found.right, found.largest) == (0.0, 1.0)


def test_shapes_and_what_the_last_layer_makes_of_the_features(window: SceneClassifier) -> None:
    cubes = np.stack([fields(seed)[0][:18, :16] for seed in (1, 2)])
    features, chances = window.features(cubes), window.probabilities(cubes)
    assert (features.shape, features.dtype) == ((2, 18, 16, 64), torch.float32)
    assert chances.shape == (2, 18, 16, 3)
    assert window.classes == (1, 2, 3)
    head = window.network.head
    logits = features.double() @ head.weight.double()[:, :, 0, 0].T + head.bias.double()
    np.testing.assert_allclose(chances, logits.softmax(-1), atol=1e-5)
    for cells, of in (
        (window.cells(cubes), features),
        (window.cell_probabilities(cubes), chances),
    ):
        means = of[:, :16].double().reshape(2, 2, 8, 2, 8, -1).mean((2, 4)).flatten(1, 2)
        np.testing.assert_allclose(cells, means, rtol=1e-4, atol=1e-5)


def test_features_against_the_layers_in_float64(window: SceneClassifier) -> None:
    cube = fields(2)[0][:7, :9]
    weights = {name: value.double().numpy() for name, value in window.network.weights().items()}
    x = (cube.astype(float) - weights["mean"]) / weights["std"]
    x = np.pad(x, ((2, 2), (2, 2), (0, 0)), mode="edge")
    for first, side in ((0, 1), (3, 3), (6, 3)):
        kernel = weights[f"body.{first}.weight"]  # (64, n, side, side)
        taps = np.lib.stride_tricks.sliding_window_view(x, (side, side), (0, 1))
        x = np.einsum("hwnij,onij->hwo", taps, kernel) + weights[f"body.{first}.bias"]
        norm = {k: weights[f"body.{first + 1}.{k}"] for k in ("running_mean", "running_var")}
        x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        x = x * weights[f"body.{first + 1}.weight"] + weights[f"body.{first + 1}.bias"]
        x = np.maximum(x, 0)
    np.testing.assert_allclose(window.features(cube[None])[0], x, rtol=1e-4, atol=1e-4)


def test_standardised_with_the_scenes_own_moments(window: SceneClassifier) -> None:
    cube, _ = fields(1)
    np.testing.assert_allclose(window.network.mean, cube.mean((0, 1), dtype=float), rtol=1e-6)
    np.testing.assert_allclose(window.network.std, cube.std((0, 1), dtype=float), rtol=1e-6)


def test_the_authors_kind_is_blind_to_shuffled_pixels_and_the_other_is_not(
    pixel: SceneClassifier, window: SceneClassifier
) -> None:
    cube = fields(2)[0][:16, :16]
    order = np.random.default_rng(0).permutation(256)
    shuffled = cube.reshape(256, 6)[order].reshape(16, 16, 6)

    def both(classifier: SceneClassifier, scale: float) -> tuple[Array, Array]:
        given = np.stack([cube, shuffled]) / scale - (scale > 1)
        rows = classifier.features(given).reshape(2, 256, 64).numpy()
        return rows[0][order], rows[1]

    straight, mixed = both(pixel, 500)
    np.testing.assert_allclose(mixed, straight, atol=1e-5)
    assert np.ptp(straight, axis=0).max() > 0.01  # and it is no constant
    straight, mixed = both(window, 1)
    assert np.abs(mixed - straight).max() > 0.1


def test_the_authors_network_is_of_their_size() -> None:
    cube, labels = np.zeros((4, 4, 103)), np.arange(16).reshape(4, 4) % 10
    found = SceneClassifier.fit(
        cube, labels, kind="pixel", background=True, layers=16, steps=1, batch=2, side=2
    )
    count = sum(p.numel() for p in found.network.parameters())
    assert 1.13e6 < count < 1.16e6
    assert found.classes == tuple(range(10))
    assert float(found.network.mean.abs().sum()) == 0  # values are taken as they are
    assert float(found.network.std.min()) == 1


def test_cells_of_a_scene(window: SceneClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    from hud_fast.metrics import classifier

    cube, _ = fields(2)
    mask = np.ones((24, 20), bool)
    mask[3, 5], mask[20, 19] = False, False
    cube[20, 19] = np.nan
    got = window.scene_cells(cube, mask, cell=6, stride=3)
    x = window.network.prepared(
        torch.from_numpy(cube)[None].nan_to_num(0.0), torch.from_numpy(mask)[None]
    )
    with torch.no_grad():
        whole = window.network.features(x)[0].double().numpy()
    want = [
        whole[:, r : r + 6, c : c + 6].mean((1, 2))
        for r in range(0, 24 - 5, 3)
        for c in range(0, 20 - 5, 3)
        if mask[r : r + 6, c : c + 6].all()
    ]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(classifier, "_PIXELS", 60)  # a row of cells at a time
    got = window.scene_cells(cube, mask, cell=6, stride=3)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_few_at_a_time_gives_the_same(
    window: SceneClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hud_fast.metrics import classifier

    cube, labels = fields(2)
    features, accuracy = window.features(np.stack(4 * [cube])), window.accuracy(cube, labels)
    monkeypatch.setattr(classifier, "_PIXELS", 40)
    np.testing.assert_allclose(window.features(np.stack(4 * [cube])), features, atol=1e-4)
    assert window.accuracy(cube, labels) == accuracy


def test_masked_and_non_finite_pixels_are_no_examples() -> None:
    cube, labels = fields(1, H=12, W=12)
    mask = np.ones((12, 12), bool)
    mask[:2] = False
    wild, wrong = cube.copy(), labels.copy()
    wild[:2], wrong[:2] = 1e6, 7
    holes = cube.copy()
    holes[:2] = np.nan
    one = SceneClassifier.fit(wild, wrong, mask=mask, steps=2, batch=2)
    two = SceneClassifier.fit(holes, wrong, steps=2, batch=2)
    assert one.classes == two.classes == (1, 2, 3)
    for name, value in one.network.weights().items():
        assert torch.equal(value, two.network.weights()[name]), name


def test_same_seed_same_weights_and_the_users_generator_is_left_alone() -> None:
    cube, labels = fields(1, H=8, W=8)

    def weights(seed: int) -> torch.Tensor:
        found = SceneClassifier.fit(
            cube, labels, kind="pixel", layers=1, steps=2, batch=8, seed=seed
        )
        return found.network.head.weight

    torch.manual_seed(0)
    first = weights(5)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(weights(5), first)
    assert not torch.equal(weights(6), first)


def test_progress_counts_steps() -> None:
    calls: list[tuple[int, int]] = []
    SceneClassifier.fit(*fields(1, H=8, W=8), steps=3, batch=1, progress=lambda *a: calls.append(a))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("kind", ["window", "pixel"])
def test_a_saved_one_gives_the_same_bits(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    classifier = request.getfixturevalue(kind)
    classifier.save(tmp_path / "c")
    classifier.save(tmp_path / "c")  # an older one is replaced
    again = SceneClassifier.load(tmp_path / "c")
    cube = fields(2)[0][None]
    assert torch.equal(again.features(cube), classifier.features(cube))
    assert torch.equal(again.probabilities(cube), classifier.probabilities(cube))
    for name in ("kind", "classes", "settings", "accuracies", "C"):
        assert getattr(again, name) == getattr(classifier, name)


def test_a_folder_of_another_network_is_damaged(window: SceneClassifier, tmp_path: Path) -> None:
    window.save(tmp_path)
    path = tmp_path / "network.safetensors"
    whole, record = read_tensors(path)

    def refused(change: dict[str, torch.Tensor], why: str) -> None:
        write_tensors(path, {**whole, **change}, record)
        with pytest.raises(DamagedFileError, match=f"SceneClassifier.load: .*{why}"):
            SceneClassifier.load(tmp_path)

    refused({"more": torch.zeros(1)}, "is of another network")
    refused({"head.bias": torch.zeros(4)}, "`head.bias` must be torch.float32 of shape")
    refused({"head.bias": torch.full((3,), torch.nan)}, "`head.bias` must be finite")
    refused({"std": torch.zeros(6)}, "`std` must be above 0")
    refused({"body.1.running_var": -torch.ones(64)}, "`body.1.running_var` must not be negative")


def test_accuracy_as_json() -> None:
    assert Accuracy(0.5, 0.25, 8).to_dict() == {"right": 0.5, "largest": 0.25, "pixels": 8}


LABELS = fields(1, H=8, W=8)[1]


@pytest.mark.parametrize(
    ("labels", "options", "error", "match"),
    [
        (LABELS, {"kind": "deep"}, ValueError, '`kind` must be "window" or "pixel"'),
        (LABELS, {"layers": 2}, ValueError, '`layers` is for kind "pixel" only, got 2'),
        (LABELS, {"steps": 0}, ValueError, "`steps` must be at least 1, got 0"),
        (LABELS, {"rate": 0}, ValueError, "`rate` must be positive and finite, got 0.0"),
        (LABELS, {"device": "nowhere"}, ValueError, "`device` must be a device of this machine"),
        (LABELS, {"background": 1}, TypeError, "`background` must be True or False"),
        (LABELS * 1.0, {}, TypeError, "`labels` must hold integers, got float64"),
        (LABELS[:4], {}, ValueError, r"`labels` must have the shape \(8, 8\) of `cube`"),
        (LABELS - 1, {}, ValueError, r"`labels` must lie in \[0, 2147483648\], got -1 to"),
        (np.minimum(LABELS, 1), {}, ValueError, r"`labels` must hold at least two classes .* got \[1\]"),
    ],
)  # fmt: skip
def test_refused_by_fit(
    labels: object, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=f"SceneClassifier.fit: {match}"):
        SceneClassifier.fit(fields(1, H=8, W=8)[0], labels, **options)


CUBE, KNOWN = fields(1)


@pytest.mark.parametrize(
    ("method", "given", "match"),
    [
        ("fit", (np.stack([CUBE, CUBE]), KNOWN), r"`cube` must have shape \(H, W, C\), got \(2, "),
        ("features", (CUBE,), r"`cubes` must have shape \(B, h, w, C\) with C = 6, got \(24, "),
        ("probabilities", (np.full((1, 4, 4, 6), np.nan),), "`cubes` must be finite"),
        ("cells", (CUBE[None], 21), "`cell` must fit into cubes of 24 x 20, got 21"),
        ("scene_cells", (CUBE, None, 21), "`cell` must fit into the scene of 24 x 20, got 21"),
        ("accuracy", (CUBE[..., :5], KNOWN), "`cube` must have the C = 6 bands learned, got 5"),
        ("accuracy", (CUBE, 0 * KNOWN), "`labels` must hold at least one labelled valid pixel"),
    ],
)  # fmt: skip
def test_refused_by_the_methods(
    method: str, given: tuple[Any, ...], match: str, window: SceneClassifier
) -> None:
    with pytest.raises(ValueError, match=f"SceneClassifier.{method}: {match}"):
        getattr(window, method)(*given)
