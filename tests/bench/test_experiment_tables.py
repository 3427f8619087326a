"""docs/experiment.md's tables, from a made-up comparison."""

from __future__ import annotations

import json
from pathlib import Path

import experiment_tables
import pytest

from hud_fast.comparison.measures import MEASURES
from hud_fast.report.machine import machine, versions


def row(protocol: str, value: float) -> dict:
    found = {"value": value, "interval": [value - 0.1, value + 0.1]}
    return {measure.key: dict(found) for measure in MEASURES[protocol]}


@pytest.fixture
def result() -> dict:
    rows = {"real": row("sound", 0.5), "hud": row("sound", 0.6), "vae": row("sound", 0.8)}
    rows["vae"]["kid"] = None
    facts = {
        "samples": 4,
        "budget": "demo",
        "floor": 0.9,
        "classes": "3 clusters",
        "split": {"training": [40, 40, 5], "held_out": [40, 41, 5]},
        "classifiers": [{"reference": {"right": 0.7, "largest": 0.4}}],
    }
    summary = {"training_steps": {"a": 10, "b": 20}, "parameters": 2e6, "gflop": 0.5}
    made = {"seconds": {"training": 9.6}, "memory": {"cpu": 1 << 30}, "summary": summary}
    standing = {"kid": {"rank": 1, "of": 2, "tied": 0, "best": "hud", "within": True}}
    table = {
        "status": "done",
        "rows": rows,
        "facts": facts,
        "methods": {"hud": made, "vae": made},
        "failed": {"ud": "no luck"},
        "out_of_order": {"fid": ["real is not better than constant"]},
        "standing": standing,
    }
    return {
        "command": "hud-fast compare field",
        "scenes": {"indian-pines": {"sound": table}, "ksc": {"sound": {"status": "not at hand"}}},
        "machine": machine(),
        "versions": versions(),
    }


def test_every_table_has_its_text(result: dict) -> None:
    found = experiment_tables.texts(result)
    sound = found["sound-indian-pines"]
    assert "|  | real half | VAE | HUD |" in sound
    assert "| KID: low | 0.500 (0.400 to 0.600) |  | **0.600** (0.500 to 0.700) |" in sound
    # controls out of order: nobody is best in it
    fid = next(line for line in sound.splitlines() if "FID (windows)" in line)
    assert "(controls out of order)" in fid
    assert "**" not in fid
    assert "40 x 40 pixels train, 40 x 41 judge" in sound
    assert "| indian-pines: KID | 1 of 2 | HUD | best |" in found["standing"]
    cost = "| indian-pines, sound: VAE | 10 | 0.0 | 10 + 20 | 2.00 | 0.50 | 1.0 GiB |  |"
    assert cost in found["cost"]
    # ours were not run: empty beside what was published
    assert "| indian-pines: VAE |  | 240.906 | 240.91 |" in found["table-III"]
    assert "UnmixDiff (UD) failed: no luck" in found["notes"]
    assert "ksc is not at hand" in found["notes"]
    assert "rest on little" not in found["notes"]
    facts = result["scenes"]["indian-pines"]["sound"]["facts"]
    facts["classifiers"][0]["reference"]["right"] = 0.4  # no better than its largest class
    assert "0.40: FID, KID, IS" in experiment_tables.texts(result)["notes"]
    assert found["origin"].startswith("`hud-fast compare field`, ")


def test_a_comparison_is_kept_and_shown(
    result: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "mine"
    (run / "figures").mkdir(parents=True)
    (run / "figures" / "panels-a.png").write_bytes(b"png")
    for name in experiment_tables.KEPT:
        (run / name).write_text(json.dumps(result))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: mine/standing -->\nold\n<!-- /table -->\nafter\n")
    monkeypatch.setattr(experiment_tables, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experiment_tables, "PAGE", page)
    experiment_tables.main(["--keep", str(run)])
    text = page.read_text()
    assert "| indian-pines: KID | 1 of 2 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert (tmp_path / "results" / "mine" / "figures" / "panels-a.png").read_bytes() == b"png"
