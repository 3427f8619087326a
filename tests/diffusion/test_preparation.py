"""The endmembers of scenes that cannot be unmixed, or whose bands say less than they seem to."""

from __future__ import annotations

import numpy as np
import pytest

from hud_fast.diffusion.preparation import choose_endmembers
from hud_fast.scenes import Scene

rng = np.random.default_rng(0)
SHARES = rng.dirichlet(np.ones(3), (20, 18))


def mixed(C: int, noise: float = 2e-3) -> np.ndarray:
    pure = 0.1 + np.random.default_rng(C).random((3, C))
    return np.asarray(SHARES @ pure + noise * rng.standard_normal((20, 18, C)))


@pytest.mark.parametrize("count", [None, 1, 3])
def test_one_band_cannot_be_unmixed(count: int | None) -> None:
    with pytest.raises(ValueError, match=r"^HUD.fit: `scene` must have two bands or more"):
        choose_endmembers(Scene(mixed(1)), count, seed=0)


def test_as_many_as_two_bands_can_tell() -> None:
    assert choose_endmembers(Scene(mixed(2)), None, seed=0).shape == (2, 2)


@pytest.mark.filterwarnings("ignore:count_endmembers")
@pytest.mark.parametrize("count", [None, 3])
def test_scenes_of_one_thing(count: int | None) -> None:
    for cube, why in (
        (np.repeat(mixed(1), 30, axis=-1), "all 30 bands are copies or multiples of one"),
        (np.full((20, 18, 30), 0.5), "all are the same spectrum"),
        (np.broadcast_to(rng.random(30), (20, 18, 30)), "all are the same spectrum"),
    ):
        with pytest.raises(ValueError, match=rf"^vca: `D` must be at most 1, .*{why}"):
            choose_endmembers(Scene(cube), count, seed=0)


def test_pairs_of_bands_do_not_change_the_count() -> None:
    with pytest.warns(UserWarning, match=r"15 of 30 bands left out"):
        found = choose_endmembers(Scene(np.repeat(mixed(15), 2, axis=-1)), None, seed=0)
    assert found.shape == (3, 30)


def test_two_materials_are_two_endmembers_where_none_are_asked_for() -> None:
    pure = 0.1 + rng.random((2, 30))
    share = rng.random((20, 18, 1))
    scene = Scene(share * pure[0] + (1 - share) * pure[1], dtype="float32")
    assert choose_endmembers(scene, None, seed=0).shape == (2, 30)
    with pytest.raises(ValueError, match=r"`D` must be at most 2, .*1 direction only"):
        choose_endmembers(scene, 3, seed=0)
