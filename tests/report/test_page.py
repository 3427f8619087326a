"""The page: self-contained, says what was made, explains every number, and is whole or not there."""

from __future__ import annotations

import base64
import errno
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast._text import size_text
from hud_fast.cli.terminal import say_numbers
from hud_fast.report import panels, training_curve, write_report
from hud_fast.report.machine import machine, peak_memory, time_text, versions
from hud_fast.report.words import key_numbers
from hud_fast.scenes import Scene

METRICS: dict[str, Any] = {
    "point_fidelity": 0.9991,
    "block_diversity": 0.97,
    "ratio": 0.97087,
    "reference": {
        "halves": {"point_fidelity": 0.9994, "block_diversity": 0.9936, "ratio": 0.9942},
        "jittered_copies": {"point_fidelity": 0.9999, "block_diversity": 0.99989, "ratio": 0.99999},
    },
    "copy_check": {
        "near_copies": 1,
        "blocks": 64,
        "share": 1 / 64,
        "expected_share": 0.01,
        "threshold": 0.99,
        "conclusive": True,
        "copy_similarity": 0.999,
        "similarity": {"max": 0.991},
    },
    "notes": [],
    "simplex": {"share": 1.0, "smallest": 0.0, "largest_sum_error": 1e-8},
    "unmixing": {
        "reconstruction_cosine": 0.9993,
        "reconstruction_cosine_min": 0.98,
        "relative_rmse": 0.02,
    },
}


@pytest.fixture
def scene() -> Scene:
    rng = np.random.default_rng(0)
    return Scene(rng.random((20, 20, 6)), name="A <b> & c", wavelengths=np.linspace(400, 900, 6))


def make(folder: Path, scene: Scene, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "scene": scene,
        "generated": scene.cube[None, :8, :8],
        "metrics": METRICS,
        "settings": {"preset": "tiny", "endmembers": 3, "raw latent": False, "rate": 0.001},
        "timings": {"training": 61.0, "generating": 4.0},
        "figures": {
            "training_curve": training_curve([{"step": 1, "loss": 1.0}]),
            "my_own": training_curve([{"step": 1, "loss": 1.0}]),
            "panels": panels(scene, scene.cube[None, :8, :8]),
        },
        "memory": {"cpu": 2**30},
    }
    return write_report(folder, **{**arguments, **changes})


class Checker(HTMLParser):
    """Collects tags, and whether each one that must be closed is."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_nothing_beside_it(tmp_path: Path, scene: Scene) -> None:
    path = make(tmp_path / "run", scene)
    assert path == tmp_path / "run" / "report.html"
    text = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert len(checker.links) == 3
    assert all(link.startswith("data:image/png;base64,") for link in checker.links)
    assert "<script" not in text
    assert "url(" not in text
    assert not re.search(r"https?://", text)
    png = base64.b64decode(checker.links[0].partition(",")[2])
    assert png == (tmp_path / "run" / "figures" / "panels.png").read_bytes()


def test_page_says_what_was_made_and_escapes_names(tmp_path: Path, scene: Scene) -> None:
    text = make(tmp_path, scene).read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "A &lt;b&gt; &amp; c" in text
    assert "1 new cubes" in text
    assert "8 &times; 8 pixels and 6 bands" in text
    assert "described by 3 endmembers" in text
    assert "1 min 5 s" in text
    assert "1.0 GiB" in text
    order = [
        text.index(word) for word in ("Point fidelity", "What it looks like", "My own", "Settings")
    ]
    assert order == sorted(order)
    assert "prefers-color-scheme: dark" in text


def test_settings_and_notes_that_others_named_can_be_written(tmp_path: Path, scene: Scene) -> None:
    settings = {"scene": "plain\udce9\x1b[31m.npy", "endmembers": 3}
    metrics = {**METRICS, "notes": ["in plain\udce9"]}
    text = make(tmp_path, scene, settings=settings, metrics=metrics, figures={}).read_text("utf-8")
    assert "<td>plain??[31m.npy</td>" in text
    assert "in plain?<" in text


def test_simulated_scenes_are_called_so(tmp_path: Path, scene: Scene) -> None:
    assert "Simulated" not in make(tmp_path, scene).read_text(encoding="utf-8")
    text = make(tmp_path, scene.replace(simulated=True)).read_text(encoding="utf-8")
    assert "<strong>Simulated scene.</strong>" in text


def test_notes_of_the_metrics_are_shown(tmp_path: Path, scene: Scene) -> None:
    metrics = {**METRICS, "reference": None, "copy_check": None, "notes": ["too <small>"]}
    text = make(tmp_path, scene, metrics=metrics).read_text(encoding="utf-8")
    assert "too &lt;small&gt;" in text
    assert "Near copies" not in text


def realism(classifier: float | None) -> dict[str, Any]:
    def row(shift: float) -> dict[str, Any]:
        values = {
            "straight_edges": 0.15,
            "grain": 0.33,
            "frechet": 10.1,
            "recall": 0.5,
            "coverage": 0.25,
        }
        space = {
            name: {"value": value + shift, "interval": [value, value + 2 * shift]}
            for name, value in values.items()
        }
        told = {"value": 0.5 + shift, "interval": None}
        space["classifier"] = None if classifier is None else told  # type: ignore[assignment]
        return {
            "blocks": 64,
            "spectra": space,
            "z": space,
            "zeros": {"value": 0.5, "interval": None},
            "copied_piece": {"value": 0.0125, "interval": None},
            "largest_copied_piece": 0.0725,
        }

    return {
        "generated": row(classifier or 0.25),
        "real": row(0.0),
        "notes": ["few <tiles>"],
        "settings": {"block": [32, 32], "seed": 0},
    }


def test_whether_the_blocks_pass_is_a_table(tmp_path: Path, scene: Scene) -> None:
    metrics = {**METRICS, "realism": realism(0.12)}
    text = make(tmp_path, scene, metrics=metrics).read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert (
        text.index("Near copies") < text.index("pass for real?") < text.index("What it looks like")
    )
    assert "few &lt;tiles&gt;" in text
    (line,) = [part for part in text.split("<tr>") if "Told from real (AUC)" in part]
    assert line.count("<td>0.62</td><td>0.50</td>") == 2
    (line,) = [part for part in text.split("<tr>") if "Straight edges" in part]
    assert "<td>0.270 (0.150 to 0.390)</td><td>0.150 (0.150 to 0.150)</td>" in line
    (line,) = [part for part in text.split("<tr>") if "Copied piece, largest" in part]
    assert "<td>7.2 %</td><td>7.2 %</td><td></td><td></td>" in line


def test_the_line_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_numbers({**METRICS, "realism": realism(0.12)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == (
        "Told from real (AUC):       0.62   (real data 0.50; 0.5 = cannot be told), "
        "straight edges 0.27 (0.15), grain 0.45 (0.33)"
    )
    assert lines[-1] == "Note: few <tiles>"
    say_numbers({**METRICS, "realism": realism(None)})
    assert "not defined, straight edges 0.40 (0.15)" in capsys.readouterr().out
    say_numbers({**METRICS, "realism": None, "notes": ["too small"]})
    shown = capsys.readouterr().out
    assert "Told from real" not in shown
    assert "Note: too small" in shown


def test_numbers_come_with_meaning_and_reference() -> None:
    numbers = {number.name: number for number in key_numbers(METRICS)}
    assert list(numbers)[:3] == ["Point fidelity", "Block diversity", "Diversity / fidelity"]
    assert numbers["Point fidelity"].references == [
        ("real data, halves", "0.99940"),
        ("jittered copies", "0.99990"),
    ]
    assert numbers["Near copies"].value == "1 of 64"
    assert "About 0.6 would be by chance" in numbers["Near copies"].meaning
    assert all(number.meaning.endswith(".") for number in numbers.values())


def test_numbers_that_cannot_be_had() -> None:
    copies = {**METRICS["copy_check"], "conclusive": False}
    numbers = key_numbers({**METRICS, "ratio": None, "copy_check": copies})
    assert numbers[2].value == "not defined"
    assert "too uniform to tell" in numbers[3].meaning


def test_a_full_disk_leaves_no_half_page(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, scene)
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path, scene, timings={})
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.rglob(".*"))


def test_errors(tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(ValueError, match=r"write_report: `generated` must have shape"):
        make(tmp_path, scene, generated=np.ones((8, 8, 6)))


def test_machine_in_words() -> None:
    assert versions()["torch"]
    assert machine()["threads used"] >= 1
    assert peak_memory()["cpu"] > 2**20


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.6, "60 s"), (3599.6, "1 h 0 min"), (60, "1 min 0 s")]
)
def test_time_in_words(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_size_in_words() -> None:
    assert size_text(12) == "12 bytes"
    assert size_text(2**40) == "1024.0 GiB"
