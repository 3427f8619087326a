"""Classes as a model holds them: what is taken from a label map, what may be asked for, what a map says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from hud_fast import spread_labels
from hud_fast.diffusion import ClassMaps
from hud_fast.scenes import Scene


def scene(H: int = 6, W: int = 8) -> Scene:
    return Scene(np.random.default_rng(0).random((H, W, 4)).astype(np.float32) + 1)


def marked(*numbers: int, H: int = 6, W: int = 8) -> Any:
    """Labels with two pixels of each number."""
    labels = np.zeros((H, W), int)
    for k, number in enumerate(numbers):
        labels.flat[[5 * k, 5 * k + 2]] = number
    return labels


@pytest.fixture(scope="module")
def found() -> ClassMaps:
    return ClassMaps.of(scene(), marked(2, 7, 4), (*"abc", "soil", *"ef", "Corn-notill"))


def test_what_is_taken_from_labels() -> None:
    labels = marked(7, 2, 4)
    mask = np.ones((6, 8), bool)
    mask[0, 0] = False  # one of 7
    given = scene().replace(mask=mask)
    found = ClassMaps.of(given, labels, ["a", "b", "c", "d", "e"])
    assert found.numbers == (2, 4, 7)
    assert found.names == ("b", "d", "class 7")
    assert found.K == 3
    assert found.counts() == {"b": 2, "d": 2, "class 7": 1}
    assert found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.labels, np.where(mask, labels, 0))
    np.testing.assert_array_equal(found.shares.numpy(), spread_labels(given, labels))
    assert ClassMaps.of(given, labels).names == ("class 2", "class 4", "class 7")


@pytest.mark.parametrize(
    "given",
    [
        lambda labels: labels.tolist(),
        lambda labels: torch.from_numpy(labels),
        lambda labels: torch.from_numpy(labels).to(torch.bfloat16),
        lambda labels: labels.astype(np.uint16),
        lambda labels: labels.astype(np.float32),
    ],
)
def test_labels_of_any_kind(given: Any) -> None:
    labels = marked(3, 5)
    found = ClassMaps.of(scene(), given(labels))
    np.testing.assert_array_equal(found.labels, labels)
    assert found.numbers == (3, 5)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("corn", TypeError),
        (7, TypeError),
        ([1, 2], TypeError),
        (["a", None], TypeError),
        ({"a": 1}, TypeError),
        (np.array(["a", "b"]), TypeError),
    ],
)
def test_names_that_are_none(names: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^HUD\.fit: `label_names` must be a sequence of texts, got"):
        ClassMaps.of(scene(), marked(1, 2), names)


def test_errors_name_who_was_called() -> None:
    with pytest.raises(ValueError, match=r"^HUD\.fit: `labels` must have the scene's shape"):
        ClassMaps.of(scene(), marked(1, 2)[1:])
    with pytest.raises(TypeError, match=r"^HUD\.labelled: `labels` must hold whole numbers"):
        ClassMaps.of(scene(), marked(1, 2) / 2, caller="HUD.labelled")
    with pytest.raises(ValueError, match=r"^HUD\.fit: `labels` must mark pixels of two classes"):
        ClassMaps.of(scene(), marked(3))


def test_too_many_classes_and_too_large_numbers() -> None:
    with pytest.raises(ValueError, match=r"at most 64 classes with .* 65535, got 65 up to 65"):
        ClassMaps.of(scene(9, 9), np.arange(81).reshape(9, 9) % 66)
    assert ClassMaps.of(scene(9, 9), np.arange(81).reshape(9, 9) % 65).K == 64
    with pytest.raises(ValueError, match="up to 65535, got 2 up to 65536"):
        ClassMaps.of(scene(), marked(1, 65536))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("Corn-notill", 2),
        ("corn-NOTILL", 2),
        ("SOIL", 1),
        ("b", 0),
        (7, 2),
        (np.int64(2), 0),
        (np.uint8(4), 1),
        (1, None),
        (-7, None),
        ("7", None),
        ("a", None),  # named, but nowhere in the scene
    ],
)
def test_classes_by_name_and_number(found: ClassMaps, name: Any, index: int | None) -> None:
    if index is not None:
        assert found.index("HUD.sample", name) == index
        return
    listed = r"of b \(2\), soil \(4\), Corn-notill \(7\), got"
    with pytest.raises(ValueError, match=f"^HUD.sample: `classes` must be {listed}"):
        found.index("HUD.sample", name)


def test_names_that_differ_in_case_only() -> None:
    found = ClassMaps.of(scene(), marked(1, 2), ("corn", "Corn"))
    assert [found.index("f", name) for name in ("corn", "Corn", "CORN")] == [0, 1, 0]


@pytest.mark.parametrize("name", [None, True, 1.0, (1,), b"x"])
def test_what_names_no_class(found: ClassMaps, name: Any) -> None:
    with pytest.raises(TypeError, match=r"^f: `classes` must name classes by name or number, got"):
        found.index("f", name)


def test_a_near_miss_is_told(found: ClassMaps) -> None:
    with pytest.raises(ValueError, match=r"got 'soill'; did you mean 'soil'\?$"):
        found.index("f", "soill")
    with pytest.raises(ValueError, match=r"got 'zzz'$"):
        found.index("f", "zzz")


@pytest.mark.parametrize(
    ("asked", "shares", "told"),
    [
        ({2: 0.25}, [0.25, 0, 0], [1, 0, 0]),
        ({"soil": 0.3, 7: 0.7}, [0, 0.3, 0.7], [0, 1, 1]),
        ({7: 1}, [0, 0, 1], [0, 0, 1]),
        ({7: None}, [0, 0, 0.5], [0, 0, 1]),
        ({7: None, 2: 0.6}, [0.6, 0, 0.25], [1, 0, 1]),
        ([7], [0, 0, 0.5], [0, 0, 1]),
        (("CORN-notill", 4), [0, 0.25, 0.25], [0, 1, 1]),
        ({2: 0.4, 4: 0.3, 7: 0.3}, [0.4, 0.3, 0.3], [1, 1, 1]),
    ],
)
def test_what_is_wanted(found: ClassMaps, asked: Any, shares: Any, told: Any) -> None:
    ours, named = found.wanted("HUD.sample", asked)
    assert (ours.dtype, named.dtype) == (torch.float32, torch.bool)
    np.testing.assert_allclose(ours.numpy(), shares, rtol=1e-6)
    assert named.tolist() == [bool(one) for one in told]


@pytest.mark.parametrize(
    ("asked", "kind", "match"),
    [
        ("soil", TypeError, "`classes` must be True, or name classes with their shares such as"),
        (7, TypeError, "`classes` must be True, or name"),
        (0.5, TypeError, "`classes` must be True, or name"),
        ({7, 2}, TypeError, "`classes` must be True, or name"),
        ({}, ValueError, "`classes` must name a class, got none"),
        ([], ValueError, "`classes` must name a class, got none"),
        ([[7]], TypeError, "`classes` must name classes by name or number, got list"),
        ([{7: 0.5}], TypeError, "`classes` must name classes by name or number, got dict"),
        ({7: 0}, ValueError, "`classes` must give 7 a share above 0 and at most 1, got 0"),
        ({7: -0.1}, ValueError, "must give 7 a share above 0 and at most 1, got -0.1"),
        ({7: 1.5}, ValueError, "must give 7 a share above 0 and at most 1, got 1.5"),
        ({"soil": 30}, ValueError, "must give 'soil' a share above 0 and at most 1, got 30"),
        ({7: float("nan")}, ValueError, "`classes` must"),
        ({7: "much"}, TypeError, "`classes` must"),
        ({7: True}, TypeError, "`classes` must"),
        ({7: [0.5]}, TypeError, "`classes` must"),
        ({7: 0.6, 2: 0.6}, ValueError, "must have shares that add up to 1 at most, got 1.2"),
        ({4: 0.2, "soil": 0.2}, ValueError, "must name each class once, got 'soil' twice"),
        ([4, "SOIL"], ValueError, "must name each class once, got 'SOIL' twice"),
        ([4, 4], ValueError, "must name each class once, got 4 twice"),
        ({"sand": 0.2}, ValueError, r"`classes` must be of b \(2\)"),
    ],
)
def test_what_cannot_be_asked(
    found: ClassMaps, asked: Any, kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=f"^HUD.sample: .*{match}"):
        found.wanted("HUD.sample", asked)


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [((1, 255), torch.uint8), ((1, 256), torch.int32), ((300, 65535), torch.int32)],
)
def test_maps(numbers: Sequence[int], dtype: torch.dtype) -> None:
    found = ClassMaps.of(scene(), marked(*numbers))
    shares = torch.tensor([[0.51, 0.49], [0.5, 0.5], [0.2, 0.8], [0.0, 0.0], [1.0, 0.0]])
    low, high = numbers
    maps = found.map_of(shares)
    assert maps.dtype == found.dtype == dtype
    assert maps.tolist() == [low, 0, high, 0, low]
    assert found.map_of(shares.view(1, 5, 1, 2)).shape == (1, 5, 1)


def test_certainty_is_what_entropy_leaves() -> None:
    shares = torch.tensor(
        [
            [[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]],
            [[torch.nan] * 3, [0.7, 0.2, 0.1], [0, 0, 1.0]],
        ]
    )
    found = ClassMaps((1, 2, 3), ("a", "b", "c"), np.zeros((2, 3), np.int32), shares)
    p = np.array([0.7, 0.2, 0.1])
    wanted = [
        [1, 0, 1 - np.log(2) / np.log(3)],
        [0, 1 + (p * np.log(p)).sum() / np.log(3), 1],
    ]
    np.testing.assert_allclose(found.certainty().numpy(), wanted, atol=1e-6)
