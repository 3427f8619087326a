"""The two figures of an evaluation: a panel an endmember, three curves each, absent endmembers included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hud_fast.report import abundance_histograms, power_spectra
from hud_fast.report.style import figure_png

EDGES = [0.0, 0.001, 0.01, 0.1, 1.0]


def evaluation(D: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def row() -> dict[str, Any]:
        each = [{"value": 0.125, "interval": [0.1, 0.2]}] * D
        power = rng.random((D, 8))
        power[-1] = 0  # an endmember that is nowhere
        return {
            "power": power.tolist(),
            "histogram": rng.dirichlet(np.ones(4), D).tolist(),
            "spectrum_distance": {"each": each},
            "histogram_distance": {"each": each},
        }

    quality = {name: row() for name in ("generated", "held_out", "training")}
    quality |= {"frequencies": (np.arange(1, 9) / 16).tolist(), "histogram_edges": EDGES}
    return {"scene": "field", "quality": quality}


@pytest.mark.parametrize("D", [1, 3, 4, 9, 16])
@pytest.mark.parametrize("draw", [power_spectra, abundance_histograms])
def test_a_panel_for_each_endmember(draw: Any, D: int) -> None:
    found = evaluation(D)
    figure = draw(found)
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in panels] == [str(d + 1) for d in range(D)]
    assert all(ax.get_title(loc="right").startswith("0.125") for ax in panels)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["real, training half", "real, held-out half", "generated"]
    if draw is power_spectra:
        lines = {line.get_label(): line for line in panels[0].get_lines()}
        assert np.allclose(
            lines["generated"].get_ydata(), found["quality"]["generated"]["power"][0]
        )
        assert np.allclose(lines["generated"].get_xdata(), np.arange(1, 9) / 16)
    else:
        steps = {patch.get_label(): patch for patch in panels[0].patches}
        values = steps["real, held-out half"].get_data().values
        assert np.allclose(values, found["quality"]["held_out"]["histogram"][0])
    if D in (1, 9):
        assert figure_png(figure, dpi=40)[1:4] == b"PNG"


@pytest.mark.parametrize("draw", [power_spectra, abundance_histograms])
def test_what_is_no_evaluation(draw: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"{draw.__name__}: `evaluation` must hold .* got \['a'\]"
    ):
        draw({"a": 1})
