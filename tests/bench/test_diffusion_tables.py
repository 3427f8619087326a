"""docs/diffusion.md's tables, from made-up results."""

from __future__ import annotations

import json

import diffusion_tables
import pytest

MACHINE = {"threads used": 2, "processor": "CPU"}
ORIGIN = {"machine": MACHINE, "versions": {"torch": "2.13.0"}}


def estimate(value, interval=None):
    return {"value": value, "interval": interval}


def row(fidelity, blocks=32):
    return {
        "blocks": blocks,
        "point_fidelity": estimate(fidelity, [fidelity - 1e-4, fidelity + 1e-4]),
        "ratio": estimate(0.99),
        "angle_to_held_out": None,
        "histogram_distance": {"mean": estimate(0.05)},
        "histogram_to_training": {"mean": estimate(0.01)},
        "spectrum_to_training": {"mean": estimate(1.5)},
        "spectrum_distance": {"mean": estimate(4.5)},
        "copies": {"near_copies": 1, "expected_share": 0.05},
        "power": [[1.0]],
        "histogram": [[1.0]],
    }


def test_training_options() -> None:
    def found(option, seed, fidelity):
        facts = {"scene": "field", "option": option, "seed": seed, "steps": 600, "samples": 32}
        sets = [] if option == "tiny" else ["prediction=v"]
        return {**facts, "settings": sets, "generated": row(fidelity)}

    result = {
        **ORIGIN,
        "rows": [found("tiny", 0, 0.9991), found("tiny", 1, 0.9993), found("v", 0, 0.998)],
        "seconds a step": {"tiny": 0.1, "v": 0.05, "compiled": 0.09},
    }
    text = diffusion_tables.training_options(result)
    assert "| tiny |  | 0.99910 to 0.99930 | 0.99000 to 0.99000 |" in text
    assert "| v | prediction=v | 0.99800 | 0.99000 | 0.0100 | 1.50 | 0.50 |" in text
    assert "| compiled |  |  |  |  |  | 0.90 |" in text
    assert "100 ms" in text
    assert "2 seeds" in text


def test_sampler_steps() -> None:
    def found(run, sampler, steps, seconds):
        facts = {"run": run, "sampler": sampler, "steps": steps, "samples": 32}
        return {**facts, "seconds a cube": seconds, "generated": row(0.9995)}

    rows = [found("a", "ddim", 10, 0.1), found("b", "ddim", 10, 0.3), found("a", "ddpm", 50, 1.0)]
    text = diffusion_tables.sampler_steps({**ORIGIN, "rows": rows})
    assert "| ddim | 10 | 0.99950 | 0.99000 | 0.0100 | 1.50 | 0.99950 |" in text
    assert "| ddpm | 50 | 0.99950 | 0.99000 | 0.0100 | 1.50 |  |  |  |  | 1.00 |" in text


def test_evaluations_are_kept_and_shown(tmp_path, monkeypatch) -> None:
    evaluation = {
        **ORIGIN,
        "quality": {key: row(0.9995) for key in ("generated", "held_out", "training")},
        "model": {"parameters": 1_150_000},
        "training_steps": 4200,
        "preset": {"batch": 8},
        "seconds": {"training": 1800.0},
        "hours": 0.75,
        "peak_memory_bytes": {"process": 2**30},
        "command": "hud-fast evaluate field",
    }
    run = tmp_path / "field"
    run.mkdir()
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: evaluations -->\nold\n<!-- /table -->\nafter\n")
    monkeypatch.setattr(diffusion_tables, "RESULTS", tmp_path)
    monkeypatch.setattr(diffusion_tables, "PAGE", page)
    diffusion_tables.main(["--keep", str(run)])
    assert "power" not in (tmp_path / "evaluation-field.json").read_text()
    text = page.read_text()
    assert "old" not in text
    assert text.endswith("<!-- /table -->\nafter\n")
    assert "| field: generated | 0.99950 (0.99940 to 0.99960) | 0.99000 | - |" in text
    assert "1 of 32 (1.6 expected)" in text
    assert "AUC" not in text  # a result from before there was a judge
    space = {
        "classifier": None,
        "straight_edges": estimate(0.125),
        "grain": estimate(0.25, [0.2, 0.3]),
    }
    evaluation["realism"] = {
        "generated": {"spectra": {**space, "classifier": estimate(0.75, [0.7, 0.8])}},
        "held_out": None,
        "real": {"spectra": space},
    }
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    diffusion_tables.main(["--keep", str(run)])
    lines = page.read_text().splitlines()
    assert "| told from real (AUC) | straight edges | grain |" in lines[2]
    assert lines[4].endswith("| 0.75 (0.70 to 0.80) | 0.125 | 0.250 (0.200 to 0.300) |")
    assert lines[5].endswith("| - | - | - |")
    assert lines[6].endswith("| - | 0.125 | 0.250 (0.200 to 0.300) |")
    assert "| field | 1.15 M parameters | 4,200 of 8 | 0.50 h | 0.75 h | 1.0 GiB |" in text


def test_seams() -> None:
    found = {"borders": 4, "ratio": 1.01, "quantiles elsewhere": [0.9, 1.1]}
    result = {
        **ORIGIN,
        "size": [512, 614],
        "sampler": "ddim",
        "steps": 50,
        "seconds": 120.0,
        "across rows": found,
        "across columns": found,
    }
    text = diffusion_tables.seams(result)
    assert "| across rows | 4 | 1.010 | 0.900 to 1.100 |" in text
    assert "512 x 614 pixels, ddim with 50 steps, 2.0 minutes" in text


def test_a_page_without_the_marker() -> None:
    with pytest.raises(ValueError, match="the page must hold <!-- table: seams -->"):
        diffusion_tables.put("nothing", "seams", "text")
