"""Controls in their order, standings, and the values that the authors published."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hud_fast.comparison.measures import HEADLINE, MEASURES, SOUND, out_of_order, standing
from hud_fast.comparison.published import FILES, METHODS, PRINTED, SCENES, published


def row(**values: float) -> dict[str, Any]:
    return {key: {"value": value, "interval": None} for key, value in values.items()}


GOOD = {"high": (0.9, 0.1), "low": (1.0, 5.0), "half": (0.52, 0.99)}


@pytest.mark.parametrize("protocol", MEASURES)
def test_controls_in_their_order_mark_nothing_and_each_pair_the_other_way_round_marks_its_measure(
    protocol: str,
) -> None:
    for measure in MEASURES[protocol]:
        for better, worse in measure.order:
            good, bad = GOOD[measure.better]
            rows = {better: row(**{measure.key: good}), worse: row(**{measure.key: bad})}
            assert out_of_order(protocol, rows) == {}
            rows = {better: rows[worse], worse: rows[better]}
            assert list(out_of_order(protocol, rows)) == [measure.key]
            rows[better] = rows[worse]  # blind to the difference: marked, too
            assert list(out_of_order(protocol, rows)) == [measure.key]


def test_a_control_without_a_value_orders_nothing() -> None:
    assert out_of_order("sound", {"real": {"kid": None}, "constant": row(kid=1.0)}) == {}
    assert out_of_order("sound", {"real": row(kid=math.nan), "constant": row(kid=1.0)}) == {}


def test_every_measure_of_the_headline_has_controls() -> None:
    known = {measure.key: measure for measure in SOUND}
    assert all(known[key].order for key in HEADLINE)


def test_the_standing_of_a_row() -> None:
    c2st = next(m for m in SOUND if m.key == "c2st")
    rows = {
        "hud": {"c2st": {"value": 0.62, "interval": [0.5, 0.7]}},
        "vae": {"c2st": {"value": 0.95, "interval": [0.9, 1.0]}},
        "ud": {"c2st": {"value": 0.45, "interval": [0.35, 0.55]}},  # nearest to 0.5
        "ubf": {"c2st": None},
    }
    assert standing(c2st, rows, "hud") == {
        "rank": 2,
        "of": 3,
        "tied": 0,
        "best": "ud",
        "within": True,
    }
    assert standing(c2st, rows, "vae") == {
        "rank": 3,
        "of": 3,
        "tied": 0,
        "best": "ud",
        "within": False,
    }
    assert standing(c2st, rows, "ud") == {
        "rank": 1,
        "of": 3,
        "tied": 0,
        "best": "ud",
        "within": True,
    }
    assert standing(c2st, rows, "ubf") is None
    tie = {name: {"c2st": {"value": 1.0, "interval": None}} for name in ("vae", "hud")}
    assert standing(c2st, tie, "hud") == {
        "rank": 1,
        "of": 2,
        "tied": 1,
        "best": "hud",
        "within": True,
    }
    assert standing(c2st, tie, "vae") == {
        "rank": 1,
        "of": 2,
        "tied": 1,
        "best": "vae",
        "within": True,
    }


def test_what_was_published() -> None:
    for table in (FILES, PRINTED):
        for cells in table.values():
            assert set(cells) <= set(METHODS)
            assert all(len(values) == len(SCENES) for values in cells.values())
    # the order that the files give: ratios of means as quoted of them
    ratios = {
        method: sum(
            d / f
            for d, f in zip(
                FILES["block_diversity"][method], FILES["point_fidelity"][method], strict=True
            )
            if d is not None and f is not None
        )
        / 5
        for method in ("vae", "wgan-gp", "mprnet", "hud")
    }
    expected = {"vae": 0.938, "wgan-gp": 0.939, "mprnet": 0.959, "hud": 0.961}
    assert ratios == pytest.approx(expected, abs=1.5e-3)
    # the two cells of FID on Indian Pines that look exchanged, and the printed averages
    fid = PRINTED["fid"]["wgan-gp"]
    assert sum(v for v in fid if v is not None) / 5 == pytest.approx(8.73, abs=0.005)
    assert published(FILES, "fid", "wgan-gp", "indian-pines") == 4.707
    assert published(PRINTED, "fid", "hud", "indian-pines") == 4.71
    assert published(PRINTED, "fid", "hud", "pavia-crop") is None
    assert published(FILES, "fid", "real", "indian-pines") is None
