"""README's table and the page, from made-up results."""

from __future__ import annotations

import copy
import json

import pytest
import table


def provider(name, kind, median, **facts):
    return {
        "provider": name, "kind": kind, "median_s": median, "iqr_s": median / 20, "rounds": 5, "items": 1000.0,
        "of": 1000.0, "error": None, "wrong": False, "note": "", **facts,
    }  # fmt: skip


@pytest.fixture
def results():
    case = {
        "group": "fcls",
        "case": "C=103 D=9",
        "unit": "pixel",
        "headline": True,
        "facts": {},
        "seconds": 1.0,
        "results": [
            provider("ours", "ours", 2e-7, error=4e-16),
            provider("spams", "peer", 4e-6, error=8e-7),
            provider("nnls", "peer", 1e-5, items=64.0),
            {"provider": "quadprog", "kind": "peer", "missing": "not installed", "wrong": False},
            provider("read", "floor", 1e-7),
        ],
    }
    plain = copy.deepcopy(case) | {"case": "other | case", "headline": False}
    curve = [
        {
            "group": "scaling", "case": f"P={x}", "unit": "query", "headline": False, "facts": {}, "seconds": 1.0,
            "curve": {"name": "against pixels", "axis": "pixels", "x": x},
            "results": [provider("ours", "ours", 1e-6 * x**0.5)],
        }
        for x in (100, 400)
    ]  # fmt: skip
    machine = {"processor": "CPU", "isa": "avx2", "threads used": 1}
    return {
        "schema": 1, "created": "2026-01-01", "command": "hud-fast bench", "commit": "abc", "machine": machine,
        "versions": {"torch": "2.13.0"}, "quick": False, "complete": True, "cases": [case, plain, *curve],
    }  # fmt: skip


def test_the_short_table(results):
    lines = table.short_table(results).splitlines()
    assert lines[2] == (
        "| fcls: C=103 D=9 | **5.00 Mpixel/s, error 4e-16** | spams: 250 kpixel/s, error 8e-07 | 20.0x | 2.00x |"
    )
    assert len([line for line in lines if line.startswith("|")]) == 3
    assert "exponent 0.50 (against pixels)" in "\n".join(lines)


def test_the_page_has_everything(results):
    text = table.page(results)
    assert "| C=103 D=9 | ours | 5.00 Mpixel/s, error 4e-16 | 5 % | 1.00x | 2.00x |  |" in text
    assert "| 100 kpixel/s | 5 % | 50.0x | 100x | on 64 of 1000 |" in text
    assert "| quadprog | not installed |" in text
    assert "other / case" in text  # a bar would break the table
    assert "| against pixels | ours | 100 to 400 | 0.50 |" in text


def test_files_are_kept_and_placed(results, tmp_path):
    raw, kept, readme = tmp_path / "raw.json", tmp_path / "kept.json", tmp_path / "README.md"
    raw.write_text(json.dumps(results))
    readme.write_text(f"above\n{table.BEGIN}\nold\n{table.END}\nbelow\n")
    pages = tmp_path / "docs" / "benchmarks.md"
    table.main([str(raw), "--keep", str(kept), "--readme", str(readme), "--page", str(pages)])
    back = json.loads(kept.read_text())
    assert [case["case"] for case in back["cases"]] == [case["case"] for case in results["cases"]]
    assert back["cases"][0]["results"][0] == results["cases"][0]["results"][0]
    assert back["machine"] == results["machine"]
    text = readme.read_text()
    assert text.startswith(f"above\n{table.BEGIN}\n| case |")
    assert text.endswith(f"{table.END}\nbelow\n")
    assert "old" not in text
    assert pages.read_text().startswith("# Benchmarks")
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="must hold"):
        table.main([str(raw), "--readme", str(readme)])


def test_files_are_merged(results):
    again = copy.deepcopy(results) | {"commit": "def"}
    again["cases"] = [copy.deepcopy(results["cases"][0])]
    again["cases"][0]["results"][0]["median_s"] = 1e-7
    found = table.merge([results, again])
    assert len(found["cases"]) == 4
    assert found["cases"][0]["results"][0]["median_s"] == 1e-7
    assert found["commit"] == "abc, def"
    with pytest.raises(ValueError, match="--quick are no record"):
        table.merge([results | {"quick": True}])
    other = copy.deepcopy(results)
    other["machine"]["isa"] = "baseline"
    with pytest.raises(ValueError, match="one machine, got two of 'isa'"):
        table.merge([results, other])
