"""The judge for jobs: notes in place of errors, and the half that was held out as the ceiling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hud_fast.diffusion.preparation import CPU, abundances_of
from hud_fast.pipeline.realism import judged, judged_by_half
from hud_fast.scenes import Scene

D, C = 3, 10
ENDMEMBERS = (np.random.default_rng(7).random((D, C)) + 0.2).astype(np.float32)


def field(seed: int, H: int, W: int) -> np.ndarray:  # (H, W, D)
    waves = gaussian_filter(np.random.default_rng(seed).normal(size=(H, W, D)), (1.5, 1.5, 0))
    x = np.maximum(waves / waves.std() + 0.4, 0)
    x[..., 0] += x.sum(axis=-1) == 0
    return (x / x.sum(axis=-1, keepdims=True)).astype(np.float32)


MAPS = np.stack([field(2, 40, 40)[i : i + 10, i : i + 10] for i in range(0, 30, 5)])
MODEL: Any = SimpleNamespace(abundances=field(0, 40, 36), endmembers=ENDMEMBERS, device=CPU)
HELD_OUT = Scene(field(1, 40, 36) @ ENDMEMBERS)


def test_a_scenes_abundances_are_exact_and_masked() -> None:
    mask = np.ones((40, 36), bool)
    mask[3, 4] = False
    maps = abundances_of(HELD_OUT.replace(mask=mask), ENDMEMBERS, encoder="fcls").numpy()
    assert np.isnan(maps[3, 4]).all()
    np.testing.assert_allclose(maps[mask], field(1, 40, 36)[mask], atol=2e-4)  # worst 3e-5


@pytest.mark.parametrize(
    ("maps", "known", "text"),
    [
        (MAPS[:1], MODEL.abundances, "at least two blocks of 8 x 8 pixels, got 1 of 10 x 10"),
        (MAPS[:, :7], MODEL.abundances, "at least two blocks of 8 x 8 pixels, got 6 of 7 x 10"),
        (MAPS, MODEL.abundances[:10, :10], "`scene` must hold two windows of 10 x 10"),
    ],
)
def test_want_of_room_is_a_note(maps: np.ndarray, known: np.ndarray, text: str) -> None:
    found, (note,) = judged(maps, known, ENDMEMBERS)
    assert found is None
    assert text in note
    model: Any = SimpleNamespace(abundances=known, endmembers=ENDMEMBERS, device=CPU)
    assert judged_by_half(maps, model, HELD_OUT) == (None, [note])


def test_other_errors_stay_errors() -> None:
    with pytest.raises(ValueError, match=r"`abundances` must be finite"):
        judged(MAPS * np.nan, MODEL.abundances, ENDMEMBERS)


def test_the_other_half_is_judged_as_generated_blocks_are() -> None:
    seen: list[int] = []
    found, notes = judged_by_half(
        MAPS, MODEL, HELD_OUT, bootstrap=0, progress=lambda done, _: seen.append(done)
    )
    assert found is not None
    assert notes == []
    assert seen == sorted(seen)
    assert seen[-1] == 1000
    alone, _ = judged(MAPS, MODEL.abundances, ENDMEMBERS, bootstrap=0)
    assert {key: value for key, value in found.items() if key != "held_out"} == alone
    assert found["held_out"]["blocks"] == 6
    # the same law: neither copied nor unlike
    assert found["held_out"]["largest_copied_piece"] < 0.5
    grain = [found[row]["z"]["grain"]["value"] for row in ("held_out", "real")]
    assert grain[0] == pytest.approx(grain[1], rel=0.3)


def test_a_small_other_half_has_fewer_blocks_and_says_so() -> None:
    found, notes = judged_by_half(
        MAPS, MODEL, HELD_OUT.crop(slice(0, 11), slice(0, 11)), bootstrap=0
    )
    assert found is not None
    assert found["held_out"]["blocks"] == 4
    assert notes == ["realism: the held-out half has 4 blocks only"]
