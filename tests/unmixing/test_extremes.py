"""The search among corners finds what a search among all pixels finds."""

from __future__ import annotations

import numpy as np
import pytest

from hud_fast import simulate_scene, vca
from hud_fast.unmixing import extremes, pixels, views


def plain(cube: np.ndarray, D: int, seed: int) -> list[int]:
    """Vertex component analysis by its affine projection, each step over all pixels."""
    y = cube.reshape(-1, cube.shape[-1]).astype(np.float64)
    y /= np.abs(y).max()
    away = y - y.mean(0)
    axes = np.linalg.eigh(away.T @ away / len(y))[1][:, ::-1][:, : D - 1]
    x = away @ axes
    x = np.column_stack([x, np.full(len(x), np.sqrt((x**2).sum(1).max()))])
    rng, found, index = np.random.default_rng([seed, 0]), np.zeros((D, D)), []
    found[-1, 0] = 1
    for i in range(D):
        f = rng.random(D)
        f -= found @ (np.linalg.pinv(found) @ f)
        extent = np.abs(x @ f)
        extent[index] = -1
        index.append(int(extent.argmax()))
        found[:, i] = x[index[-1]]
    return index


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("room", [0, 60_000, 1 << 28])
def test_as_among_all_pixels(seed: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With coordinates kept of no part, of some, of all."""
    monkeypatch.setattr(views, "KEPT_BYTES", room)
    monkeypatch.setattr(pixels, "BLOCK_VALUES", 9_000)  # many parts
    monkeypatch.setattr(extremes, "FIRST_DIRECTIONS", 1)  # few corners: several looks
    looks, look = [], views.Views.look
    kept: set[bool] = set()

    def counted(self, *given):
        looks.append(1)
        kept.update(seen is not None for seen in self._seen)
        return look(self, *given)

    monkeypatch.setattr(views.Views, "look", counted)
    cube = simulate_scene(60, 50, C=30, D=8, seed=seed).cube
    index = vca(cube, 8, seed=seed, snr_db=-np.inf, return_index=True)[1]
    assert index.tolist() == plain(cube, 8, seed)
    assert len(looks) > 1
    assert kept == {0: {False}, 60_000: {False, True}}.get(room, {True})
