"""The summary's numbers against a direct computation, with pixels left out; every error."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hud_fast.unmixing import pixels as reader
from hud_fast.unmixing import unmixing_summary


def test_numbers_against_a_direct_computation() -> None:
    rng = np.random.default_rng(0)
    A = rng.uniform(0.1, 1, (3, 8))
    x = rng.dirichlet([0.5] * 3, size=(5, 4))
    x[0, 0], x[1, 1] = [1, 0, 0], [-0.2, 0.5, 0.7]
    cube = x @ A + 0.01 * rng.standard_normal((5, 4, 8))
    flat, again = cube.reshape(-1, 8), x.reshape(-1, 3) @ A
    cosine = (flat * again).sum(1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(again, axis=1)
    old, reader.BLOCK_VALUES = reader.BLOCK_VALUES, 10
    try:
        got = unmixing_summary(cube, A, torch.tensor(x))
    finally:
        reader.BLOCK_VALUES = old
    want = {
        "pixels": 20,
        "left_out": 0,
        "reconstruction_cosine": cosine.mean(),
        "reconstruction_cosine_min": cosine.min(),
        "rmse": np.sqrt(((flat - again) ** 2).mean()),
        "relative_rmse": np.sqrt(((flat - again) ** 2).sum() / (flat**2).sum()),
        "share_zero": 2 / 60,
        "share_clipped": 1 / 60,
        "largest_sum_error": np.abs(x.sum(-1) - 1).max(),
        "mean_active": 57 / 20,
    }
    assert got == pytest.approx(want, rel=1e-12)
    json.dumps(got)


def test_bad_pixels_are_left_out_and_counted() -> None:
    A = np.eye(2, 3)
    pixels = np.ones((6, 3))
    x = np.full((6, 2), 0.5)
    pixels[0], pixels[1, 1], x[2] = 0, np.nan, np.nan
    got = unmixing_summary(pixels, A, x, mask=np.arange(6) != 3)
    assert (got["pixels"], got["left_out"]) == (2, 4)
    assert got["reconstruction_cosine"] == pytest.approx(np.sqrt(2 / 3))


def test_a_zero_reconstruction_has_cosine_zero() -> None:
    got = unmixing_summary(np.ones((1, 3)), np.eye(2, 3), np.zeros((1, 2)))
    assert got["reconstruction_cosine"] == 0


def test_errors() -> None:
    A, pixels, x = np.eye(2, 3), np.ones((6, 3)), np.full((6, 2), 0.5)
    with pytest.raises(ValueError, match=r"`endmembers` .* C = 3 as in `pixels`, got \(2, 4\)"):
        unmixing_summary(pixels, np.eye(2, 4), x)
    with pytest.raises(ValueError, match=r"`abundances` must have shape \(6, 2\), got \(5, 2\)"):
        unmixing_summary(pixels, A, x[:5])
    with pytest.raises(
        ValueError, match="at least one valid pixel with finite abundances, got none"
    ):
        unmixing_summary(pixels, A, x * np.nan)
