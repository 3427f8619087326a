"""The comparison of scenes: from a small scene to rows, a table and a picture; kept rows are not made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import realism_scenes

from hud_fast.pipeline.rundir import read_json
from hud_fast.scenes import save_scene, simulate_scene


def test_rows_a_table_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_scene(simulate_scene(50, 42, C=10, D=3, seed=0), tmp_path / "field.mat")
    monkeypatch.setattr(realism_scenes, "SAMPLES", 4)
    monkeypatch.setattr(realism_scenes, "SHOWN", 3)
    out, picture = tmp_path / "rows.json", tmp_path / "picture.png"
    command = ["", f"{tmp_path / 'field.mat'},endmembers=3", "--out", str(out), "--threads", "1"]
    monkeypatch.setattr("sys.argv", [*command, "--picture", str(picture)])
    realism_scenes.main()
    (row,) = read_json(out)["rows"]
    assert (row["scene"], row["preset"], row["seed"]) == ("field", "instant", 0)
    assert 0 < row["generated"]["largest_copied_piece"] <= 1
    assert picture.stat().st_size > 10_000
    assert "| field, instant, 0 | - / - | " in capsys.readouterr().out  # no room for the classifier
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr(realism_scenes, "judged", None)  # would fail if it were called
    realism_scenes.main()
    assert read_json(out)["rows"] == [row]
