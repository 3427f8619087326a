"""The whole evaluation: the numbers of its parts, JSON, one progress, notes for small scenes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.metrics import (
    Mixtures,
    block_diversity,
    copy_check,
    evaluate,
    point_fidelity,
    real_reference,
)
from hud_fast.metrics._turned_blocks import Looked
from hud_fast.metrics.json_values import distribution, plain
from hud_fast.metrics.progress import Stages


@pytest.fixture(scope="module")
def cubes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    return rng.random((5, 6, 6, 7)), rng.random((24, 15, 7))


def test_the_parts_are_the_functions(
    cubes: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    generated, real = cubes
    mask = np.ones((24, 15), dtype=bool)
    mask[2, 3] = False
    seen: list[tuple[int, int]] = []
    got = evaluate(
        generated,
        real,
        block=3,
        stride=2,
        norm="block",
        mask=mask,
        count=6,
        quantile=0.9,
        seed=2,
        progress=lambda *done: seen.append(done),
    )
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    fidelity = point_fidelity(generated, real, mask=mask)
    options = {"block": 3, "stride": 2, "norm": "block", "mask": mask}
    diversity = block_diversity(generated, real, **options)  # type: ignore[call-overload]
    assert got["point_fidelity"] == fidelity
    assert got["block_diversity"] == diversity
    assert got["ratio"] == diversity / fidelity
    reference = real_reference(real, count=6, seed=2, **options)  # type: ignore[arg-type]
    assert got["reference"] == reference.to_dict()
    check = copy_check(generated, real, block=3, quantile=0.9, count=6, seed=2, mask=mask)
    assert got["copy_check"] == check.to_dict()
    assert got["counts"]["real"]["masked"] == 1
    assert got["counts"]["blocks"] == 20
    assert got["notes"] == ["1 of 360 pixels of the real scene was left out: masked or not finite"]
    assert got["settings"] == {
        "block": [3, 3], "stride": 2, "norm": "block", "count": 6, "quantile": 0.9, "endmembers": None,
        "seed": 2,
        "generated_shape": [5, 6, 6, 7], "real_shape": [24, 15, 7],
    }  # fmt: skip
    assert seen[-1] == (1000, 1000)
    assert seen == sorted(seen)
    known = np.eye(7)[:4] + 0.1
    mixed = evaluate(generated, real, block=3, count=6, endmembers=known, reference=False)
    check = copy_check(generated, real, block=3, count=6, endmembers=known)
    assert mixed["copy_check"] == check.to_dict()
    assert mixed["settings"]["endmembers"] == 4


def test_parts_can_be_left_out(cubes: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    got = evaluate(*cubes, reference=False, copies=False)
    assert got["reference"] is None
    assert got["copy_check"] is None
    assert got["notes"] == []


def test_a_scene_too_small_to_halve_gives_notes(
    cubes: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    generated, real = cubes
    got = evaluate(generated, real[:7, :7], count=4)
    assert got["reference"] is None
    assert got["copy_check"] is None
    assert len(got["notes"]) == 2
    assert "halves, got a scene of 7 x 7" in got["notes"][0]
    assert got["block_diversity"] < 1


def test_other_errors_are_not_swallowed(
    cubes: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    with pytest.raises(ValueError, match="`count` must be at least 2"):
        evaluate(*cubes, count=1)
    with pytest.raises(ValueError, match=r"`generated` must have the C = 7 bands"):
        evaluate(cubes[0][..., :5], cubes[1])


def test_stages_share_one_progress() -> None:
    seen: list[tuple[int, int]] = []
    stages = Stages(lambda *done: seen.append(done), {"a": 1, "b": 3})
    for name in ("a", "b"):
        advance = stages[name]
        assert advance is not None
        advance(1, 2)
        advance(2, 2)
    assert seen == [(125, 1000), (250, 1000), (625, 1000), (1000, 1000)]
    assert Stages(None, {"a": 1})["a"] is None


def test_plain_and_distribution() -> None:
    assert plain({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}
    five = distribution(np.array([np.nan, 1.0, 3.0, 2.0]))
    assert (five["min"], five["median"], five["max"]) == (1, 2, 3)


def test_what_was_left_out_is_said(
    cubes: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    generated, real = cubes[0].copy(), cubes[1]
    generated[1] = np.nan
    quick: dict[str, Any] = {"reference": False, "copies": False}
    assert evaluate(generated, real, **quick)["notes"] == [
        "1 of 5 cubes was left out of the block diversity: it has pixels that are masked or not finite",
        "36 of 180 generated pixels were left out: masked or not finite",
    ]
    generated[1] = 1
    generated[2:4, 5, 5, 0] = np.inf  # beyond the blocks of 5 x 5, and in the last one of 3 x 3
    assert evaluate(generated, real, block=5, **quick)["notes"] == [
        "55 of 180 generated pixels were left out of the block diversity: beyond the last whole block of 5 x 5",
        "2 of 180 generated pixels were left out: masked or not finite",
    ]
    assert evaluate(generated, real, block=3, **quick)["notes"][0] == (
        "2 of 20 blocks were left out of the block diversity: they have pixels that are masked or not finite"
    )


@pytest.mark.parametrize("told", [True, False])
def test_mixtures_give_the_numbers_of_the_cubes(told: bool) -> None:
    """With the generator's endmembers and without; a non-finite pixel, a mask, masks on both sides."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(0.1, 1, (3, 9))
    shares = rng.dirichlet(np.ones(3), (6, 5, 5))
    shares[1, 2, 2, 0] = np.nan
    real = rng.dirichlet(np.ones(3), (22, 15)) @ ends + 0.02 * rng.random((22, 15, 9))
    masks = {"mask": rng.random((22, 15)) > 0.01, "generated_mask": rng.random((6, 5, 5)) > 0.01}
    options = {"count": 6, "endmembers": ends if told else None, **masks}
    found, known = (evaluate(g, real, **options) for g in (Mixtures(shares, ends), shares @ ends))

    def same(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one:
                same(one[key], other[key])
        elif isinstance(one, list):
            assert len(one) == len(other)
            for pair in zip(one, other, strict=True):
                same(*pair)
        elif isinstance(one, float):
            assert one == pytest.approx(other, abs=1e-9)
        else:
            assert one == other

    same(found, known)
    assert found["counts"]["generated"]["nonfinite"] == 1
    assert found["copy_check"] is not None


def test_no_image_of_all_bands_is_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From mixtures, spectra are those of one block at a time."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(0.1, 1, (3, 40))
    generated = Mixtures(rng.dirichlet(np.ones(3), (30, 4, 4)), ends)
    formed: list[int] = []
    form = Looked.spectra

    def spectra(self: Looked, i: int) -> torch.Tensor:
        found = form(self, i)
        formed.append(found.shape[0])
        return found

    monkeypatch.setattr(Looked, "spectra", spectra)
    evaluate(generated, rng.dirichlet(np.ones(3), (12, 9)) @ ends, count=4)
    assert set(formed) == {1}
