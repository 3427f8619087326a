"""Figures, tables, sentences and page of a downstream test, from made-up results."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from augment_results import augment_examples, augment_result

from hud_fast.augmentation.page import WORDS
from hud_fast.report import augmentation_figures, augmentation_tables, write_augmentation
from hud_fast.report.augmentation_figures import accuracies, class_scores, confusions, gains
from hud_fast.report.augmentation_tables import agreement_line, leak_line, verdicts
from hud_fast.report.style import figure_png
from hud_fast.scenes import simulate_scene


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return augment_result()


def test_gains_are_the_paired_differences_in_points(result: dict[str, Any]) -> None:
    figure = gains(result, WORDS)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["SVM", "CNN"]
    lines = {bars.get_label(): bars for bars in figure.axes[1].containers}
    assert len(lines) == 8  # every row but the one that all are compared with
    line, _, (whiskers,) = lines["HUD labelled cubes"]
    known = [result["summary"][n]["cnn"]["differences"]["hud - real"]["oa"] for n in ("5", "20")]
    np.testing.assert_allclose(line.get_ydata(), [100 * one["value"] for one in known])
    ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
    np.testing.assert_allclose(ends, 100 * np.array([one["interval"] for one in known]))


def test_accuracies_of_every_row_and_count(result: dict[str, Any]) -> None:
    figure = accuracies(result, WORDS)
    ax = figure.axes[0]
    assert next(text.get_text() for text in ax.get_yticklabels()) == "real labels only"
    few, many = ax.containers
    known = result["summary"]["20"]["svm"]["rows"].values()
    np.testing.assert_allclose(many[0].get_xdata(), [100 * row["oa"]["value"] for row in known])
    assert (few[0].get_ydata() < many[0].get_ydata()).all()  # beside each other, not over


def test_confusions_are_shares_of_the_true_class(result: dict[str, Any]) -> None:
    figure = confusions(result, WORDS)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == 6
    best = result["summary"]["5"]["cnn"]["best_control"]
    for ax, row in zip(shown[3:], ("real", best, "hud"), strict=True):
        counts = np.array(result["summary"]["5"]["cnn"]["rows"][row]["confusion"])
        shares = np.asarray(ax.images[0].get_array())
        np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True))
        assert ax.get_title(loc="left").startswith(WORDS[row])
    numbers = [text.get_text() for text in shown[0].texts]
    first = np.asarray(shown[0].images[0].get_array())
    assert numbers == [f"{100 * share:.0f}" for share in first.ravel() if share >= 0.005]


def test_f1_bars_are_dark_where_the_difference_is_clear(result: dict[str, Any]) -> None:
    result = copy.deepcopy(result)
    table = result["summary"]["20"]["svm"]
    intervals = ([0.01, 0.2], [-0.1, 0.2], None, [-0.2, -0.1])
    for one, interval in zip(table["differences"]["hud - real"]["f1"], intervals, strict=True):
        one["interval"] = interval
    ax = class_scores(result, WORDS, count="20").axes[0]
    clear = [True, False, False, True]
    assert [line.get_linewidth() > 2 for line in ax.lines] == clear
    ends = np.array([line.get_xdata() for line in ax.lines]).T
    for row, values in zip(("real", "hud"), ends, strict=True):
        np.testing.assert_allclose(values, [one["value"] for one in table["rows"][row]["f1"]])


@pytest.mark.parametrize(
    "options",
    [
        {"draws": 1, "per_class": (5,), "classifiers": ("svm",)},  # no intervals
        {"rows": ("real", "mixtures"), "per_class": (2, 5, 10, 20, 40)},  # no generator
    ],
)
def test_any_part_of_a_test_can_be_drawn_and_told(options: dict[str, Any], tmp_path: Path) -> None:
    result = augment_result(**options)
    scene = simulate_scene(40, 36, C=7, D=3, seed=2)
    drawn = augmentation_figures(scene, result, WORDS, {})
    pictures = {name: figure_png(draw(), dpi=30) for name, draw in drawn.items()}
    assert ("class_scores" in pictures) == ("hud" in result["settings"]["rows"])
    page = write_augmentation(tmp_path, result, WORDS, pictures).read_text()
    assert page.count("data:image/png") == len(pictures)
    assert not re.search(r">[^<]*\bnan\b", page)
    if options.get("draws") == 1:
        assert "points (no interval of one draw)" in verdicts(result, WORDS)[0]


def test_the_tables_say_what_the_result_says(result: dict[str, Any]) -> None:
    tables = {table.key: table for table in augmentation_tables(result, WORDS)}
    assert [key for key in tables if not key.startswith("f1")] == [
        *("rows-5", "differences-5", "rows-20", "differences-20", "agreement", "classes")
    ]
    rows = dict(tables["rows-5"].lines)
    known = result["summary"]["5"]["cnn"]["rows"]["hud"]["kappa"]
    entry = rows["HUD labelled cubes"][tables["rows-5"].columns.index("CNN: kappa")]
    low, high = known["interval"]
    assert (entry.text, entry.interval) == (
        f"{100 * known['value']:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
    )
    best = max(result["summary"]["5"]["cnn"]["rows"].values(), key=lambda row: row["oa"]["value"])
    (strong,) = {entries[3].text for entries in rows.values() if entries[3].strong}
    assert strong == f"{100 * best['oa']['value']:.1f}"
    apart = dict(tables["differences-20"].lines)
    for pair, key in (
        ("HUD labelled cubes - the best control", "hud - control"),
        ("HUD labelled cubes - spread labels on real pixels", "hud - spread"),
    ):
        found = result["summary"]["20"]["svm"]["differences"][key]["oa"]
        assert apart[pair][0].text.startswith(f"{100 * found['value']:+.1f}")
        assert apart[pair][0].strong == (found["interval"][0] > 0 or found["interval"][1] < 0)
    control = result["summary"]["20"]["svm"]["best_control"]
    assert WORDS[control] in apart["HUD labelled cubes - the best control"][0].text
    classes = dict(tables["classes"].lines)
    assert [one.text for one in classes["99 Towers"]][3].startswith("left out: in a draw 1 of")
    assert [one.text for one in classes["1 Oats $1 & <b>rye</b>"]] == [
        *("100", "60", "40", "yes", "in draws 0")
    ]


def test_the_sentences_say_against_whom_and_how_sure(result: dict[str, Any]) -> None:
    said = verdicts(result, WORDS)
    assert len(said) == 4
    apart = result["summary"]["5"]["svm"]["differences"]
    told = re.findall(r"([+-]\d+\.\d) points \((\S+) to ([^,)]+)(, undecided)?\) against", said[0])
    assert len(told) == 3
    for (value, low, high, undecided), key in zip(told, ("real", "control", "spread"), strict=True):
        found = apart[f"hud - {key}"]["oa"]
        assert value == f"{100 * found['value']:+.1f}"
        assert (low, high) == tuple(f"{100 * end:+.1f}" for end in found["interval"])
        assert bool(undecided) == (found["interval"][0] <= 0 <= found["interval"][1])
    assert "0.90 (0.90 to 0.90) with 5, " in agreement_line(result)
    assert leak_line(result).startswith("Leak check passed: of 15,000 spectra")
    draws = [{**draw, "leaks": {**draw["leaks"], "near": 1}} for draw in result["draws"]]
    assert leak_line({**result, "draws": draws}).startswith("Leak check FAILED")
    assert agreement_line({**result, "agreement": {}}) == ""


def test_the_page_holds_all_and_nothing_runs(result: dict[str, Any], tmp_path: Path) -> None:
    scene = simulate_scene(40, 36, C=7, D=3, seed=2)
    drawn = augmentation_figures(scene, result, WORDS, augment_examples(scene))
    pictures = {name: figure_png(draw(), dpi=30) for name, draw in drawn.items()}
    assert len(pictures) == 7
    page = write_augmentation(tmp_path, result, WORDS, pictures).read_text()
    assert page.count("data:image/png") == 7
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == set(pictures)
    assert "Leak check passed" in page
    assert "Towers is left out" in page
    assert "Undecided: the interval" in page
    assert "<script" not in page
    assert "<b>rye" not in page
    assert "field <i>" not in page
    assert "http" not in re.sub(r"<!DOCTYPE.*?>", "", page)
    assert (
        "Not finished: 3 of 3 draws"
        in write_augmentation(tmp_path, {**result, "status": "running"}, WORDS, {}).read_text()
    )
