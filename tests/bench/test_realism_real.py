"""docs/realism.md's table: from a small scene to the page, and from the kept results alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import realism_real

from hud_fast.pipeline.rundir import read_json
from hud_fast.scenes import save_scene, simulate_scene


def test_real_copied_and_blurred_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_scene(simulate_scene(50, 42, C=10, D=3, seed=0), tmp_path / "field.mat")
    page = tmp_path / "page.md"
    page.write_text("<!-- table: realism-real -->\nold\n<!-- /table -->\n")
    monkeypatch.setattr(realism_real, "PAGE", page)
    monkeypatch.setattr(realism_real, "RESULT", tmp_path / "result.json")
    monkeypatch.setattr(realism_real, "BLOCKS", 4)
    realism_real.main([f"{tmp_path / 'field.mat'},endmembers=3", "--seeds", "0", "1"])
    text = page.read_text()
    real, copies, blurred = text.splitlines()[3:6]
    # too few tiles for the classifier
    assert real.startswith("| field (50 x 42, D = 3, 2 tiles) | real |  |  | ")
    assert copies.endswith("| 100.0 to 100.0 (100) |")
    rows = read_json(tmp_path / "result.json")["rows"]
    grain = {
        kind: [row["spectra"]["grain"]["value"] for row in rows if row["kind"] == kind]
        for kind in realism_real.KINDS
    }
    assert all(len(values) == 2 for values in grain.values())
    assert max(grain["blurred"]) < min(grain["copies"])
    assert f"{min(grain['blurred']):.3f} to {max(grain['blurred']):.3f}" in blurred
    realism_real.main([])
    assert page.read_text() == text
