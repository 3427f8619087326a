"""docs/labelled-cubes.md's tables, from a made-up test."""

from __future__ import annotations

import json
from pathlib import Path

import augment_tables
import pytest
from augment_results import augment_result


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(augment_tables, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(augment_tables, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(augment_tables, "README", tmp_path / "readme.md")
    augment_tables.README.write_text("<!-- table: augment -->\n<!-- /table -->\n")
    return tmp_path / "results"


def run_of(folder: Path, result: dict) -> Path:
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "gains.png").write_bytes(b"png")
    (folder / "augment.json").write_text(json.dumps(result))
    return folder


def test_a_test_is_kept_and_shown(results: Path, tmp_path: Path) -> None:
    result = augment_result()
    run = run_of(tmp_path / "field", result)
    marks = "".join(
        f"<!-- table: {name} -->\nformer\n<!-- /table -->\n"
        for name in ("field/rows-5", "field/headline", "field/origin", "other/notes")
    )
    augment_tables.PAGE.write_text(f"before\n{marks}after\n")
    augment_tables.main(["--keep", str(run)])
    text = augment_tables.PAGE.read_text()
    assert "former" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| HUD labelled cubes | " in text
    assert "* SVM, 5 labels a class: with HUD labelled cubes OA is" in text
    assert "* Leak check passed" in text
    assert "`hud-fast augment field.mat" in text
    assert text.count(augment_tables.WAITING) == 1  # of the other scene, which has no file
    assert (results / "field-gains.png").read_bytes() == b"png"
    kept = json.loads((results / "field.json").read_text())
    assert kept["summary"] == result["summary"]
    assert kept["command"].endswith("--out runs/augment/field")
    assert "confusion" not in json.dumps(kept["draws"])
    readme = augment_tables.README.read_text()
    rows = [line for line in readme.splitlines() if ", 5 | " in line]
    assert len(rows) == len(result["summary"]["5"])
    again = augment_tables.texts(kept)
    assert again == augment_tables.texts({**result, "command": kept["command"]})


def test_what_is_not_finished_is_not_kept(results: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "field", {**augment_result(draws=1), "status": "running"})
    with pytest.raises(ValueError, match="must be finished, got running"):
        augment_tables.keep(run)
    assert not results.exists()


def test_the_page_holds_what_the_script_can_fill() -> None:
    import re

    page = augment_tables.PAGE.read_text(encoding="utf-8")
    keys = {key for _, key in re.findall(r"<!-- table: (\S+)/(\S+) -->", page)}
    assert keys <= set(augment_tables.texts(augment_result(per_class=(5, 10, 20))))
    assert {"headline", "rows-10", "differences-10"} <= keys
