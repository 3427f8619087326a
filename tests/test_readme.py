"""README's Python runs as it stands (with fewer steps and cubes), and its commands exist."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest

from hud_fast.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorly", reason="Indian Pines without a network comes from tensorly")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path))
    # the second block goes on where the first ends
    code = "".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    for long, short in (
        ('preset="tiny"', 'preset="tiny", steps=2'),
        ("sample(64", "sample(2"),
        ("balanced=True", "balanced=False"),  # weighs patches for each class
    ):
        assert long in code
        code = code.replace(long, short)
    with warnings.catch_warnings():
        # patches are weighed by two trial blocks here
        warnings.filterwarnings("ignore", "HUD.sample: patches of the scene do not bring")
        exec(compile(code, "README.md", "exec"), {})
    fidelity, diversity = map(float, capsys.readouterr().out.split())
    assert 0.9 < diversity <= fidelity <= 1
    assert (tmp_path / "model" / "config.json").exists()


def test_the_commands_exist():
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"hud-fast (\w+)", README))
    assert used <= known
    assert len(used) >= 5


def test_the_tables_come_from_the_results():
    """README's table and the pages of benchmarks are what the script makes of committed results, to the letter."""
    import table

    folder = Path(__file__).parents[1]
    files = sorted((folder / "benchmarks" / "results").glob("*.json"))
    results = [found for found in (json.loads(f.read_text()) for f in files) if "schema" in found]
    if not results:
        pytest.skip("no results of `hud-fast bench` are kept here")
    assert any(table.short_table(found) in README for found in results)
    for name in ("benchmarks.md", "benchmarks-avx512.md"):
        page = (folder / "docs" / name).read_text(encoding="utf-8")
        assert any(table.page(found) == page for found in results)
