"""The whole test at its smallest size: everything is written, goes on where it stopped, and refuses what is another."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hud_fast.augmentation import (
    CLASSIFIERS,
    ROWS,
    TITLES,
    AugmentationOptions,
    AugmentationResult,
    Leak,
    augment_scene,
    experiment,
)
from hud_fast.augmentation.experiment import Experiment
from hud_fast.augmentation.generator import majority
from hud_fast.pipeline import InputError, Reporter
from hud_fast.scenes import Scene, load_scene, save_scene, simulate_scene

pytest.importorskip("sklearn")

SMALL = AugmentationOptions(
    per_class=(3, 6),
    draws=2,
    endmembers=3,
    added=12,
    cubes=3,
    size=(16, 16),
    classifier_steps=3,
    device="cpu",
)
FEW = replace(
    SMALL, per_class=(3,), rows=("real", "pseudo", "hud"), classifiers=("svm", "transformer")
)
NAMES = ("Grass", "Sand", "Rock | bare", "Pole")


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Four classes, the last of a single pixel, and a masked corner."""
    scene = simulate_scene(48, 60, C=16, D=3, smoothness=3, seed=5)
    assert scene.truth is not None
    abundances = scene.truth.abundances
    labels = np.where(abundances.max(axis=-1) > 0.7, abundances.argmax(axis=-1) + 1, 0)
    labels[30, 30] = 4
    mask = np.ones(labels.shape, bool)
    mask[:3, :3] = False
    return scene.replace(labels=labels, label_names=NAMES, mask=mask)


@pytest.fixture(scope="module")
def made(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> AugmentationResult:
    out = tmp_path_factory.mktemp("augment")
    return augment_scene(scene, out, options=SMALL, command="hud-fast augment")


def without_seconds(value: Any) -> Any:
    """What must not depend on when it was made."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in ("seconds", "commit")}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def test_everything_is_there(made: AugmentationResult, scene: Scene) -> None:
    result = made.result
    assert json.loads((made.folder / "augment.json").read_text()) == result
    assert result["status"] == "finished"
    assert result["command"] == "hud-fast augment"
    assert result["scene"]["shape"] == [48, 60, 16]
    assert [one["used"] for one in result["classes"]] == [True, True, True, False]
    assert "Pole is left out: in a draw 1 of its pixels are left to train" in str(result["notes"])
    assert [draw["draw"] for draw in result["draws"]] == [0, 1]
    for draw in result["draws"]:
        assert draw["leaks"]["equal"] == draw["leaks"]["near"] == 0
        assert draw["leaks"]["training_spectra"] > 2 * 7 * 36 * 49
        split = draw["split"]
        total = split["train_area"] + split["test_area"] + split["strip"]
        assert total == scene.valid.sum()
        for count, table in draw["counts"].items():
            assert table["labelled"] == dict.fromkeys("123", int(count))
            assert table["generated"]["plain"] == 3
            assert 0 <= table["agreement"]["cubes"] <= 1
            assert list(table["rows"]) == list(ROWS)
            for scores in table["rows"].values():
                assert set(scores) == set(CLASSIFIERS)
                tested = [[sum(line) for line in score["confusion"]] for score in scores.values()]
                known = [of["test"] for of in split["classes"].values()]
                assert tested == [known] * len(CLASSIFIERS)
    for tables in result["summary"].values():
        for table in tables.values():
            assert set(table["rows"]) == set(ROWS)
            assert len(table["differences"]) == len(ROWS) - 1 + 4
            assert table["differences"]["hud - control"]["against"] == table["best_control"]
    assert result["agreement"]["3"]["ratio"]["value"] > 0
    said = made.headline()
    told = [line for line in said if "labels a class: with HUD labelled cubes OA is" in line]
    assert len(told) == 2 * len(CLASSIFIERS)
    assert said[-1].startswith("Leak check passed")
    assert (made.folder / "report.html").read_text().count("data:image/png") == 7


def test_the_tables_hold_what_the_result_holds(made: AugmentationResult) -> None:
    text = (made.folder / "tables.md").read_text()
    assert all(title in text for title in TITLES.values())
    assert r"Rock \| bare" in text
    with (made.folder / "tables.csv").open() as file:
        lines = list(csv.DictReader(file))
    known = made.result["summary"]["6"]["cnn"]
    (line,) = (
        one
        for one in lines
        if (one["per_class"], one["classifier"], one["row"], one["against"], one["measure"])
        == ("6", "cnn", "hud", "real", "f1 Sand")
    )
    assert float(line["value"]) == known["differences"]["hud - real"]["f1"][1]["value"]
    assert len(lines) == 2 * 3 * (9 + 12) * (3 + 3)


def test_the_examples_are_of_the_first_draw(made: AugmentationResult, scene: Scene) -> None:
    found = np.load(made.folder / "examples.npz")
    assert found["cubes"].shape[1:] == (16, 16, 16)
    assert found["maps"].shape == found["cubes"].shape[:3]
    assert set(np.unique(found["maps"])) <= {0, 1, 2, 3}
    assert found["names"].tolist() == list(NAMES[:3])
    assert (found["train"][found["sides"] != 1] == 0).all()
    assert (found["test"][found["sides"] != 2] == 0).all()
    assert ((found["drawn"] > 0).sum(), (found["spread"][found["sides"] != 1] == 0).all()) == (
        18,
        True,
    )
    said = found["predicted_hud_svm"]
    assert ((said > 0) == (found["test"] > 0)).all()
    score = made.result["draws"][0]["counts"]["3"]["rows"]["hud"]["svm"]
    assert (said == found["test"])[said > 0].mean() == pytest.approx(score["oa"])


class Stop(Exception):
    pass


def test_an_interrupted_test_goes_on_as_if_nothing_had_been(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Reporter):
        def stage(self, name: str) -> Any:
            if "draw 2" in name:
                raise Stop
            return super().stage(name)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    made = augment_scene(scene, whole, options=FEW)
    with pytest.raises(Stop):
        augment_scene(scene, parts, options=FEW, reporter=Interrupted())
    half = json.loads((parts / "augment.json").read_text())
    assert (half["status"], len(half["draws"])) == ("running", 1)
    # what is made is not made again: the first draw is made no more
    known, drawn = experiment.Experiment.run, []

    def run(self: Experiment, draw: int, progress: Any) -> Any:
        drawn.append(draw)
        return known(self, draw, progress)

    monkeypatch.setattr(experiment.Experiment, "run", run)
    again = augment_scene(scene, parts, options=FEW)
    assert drawn == [1]
    assert without_seconds(again.result) == without_seconds(made.result)
    for name in ("tables.csv", "tables.md", "examples.npz"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    kept = augment_scene(scene, parts, options=FEW)
    assert drawn == [1]
    assert without_seconds(kept.result) == without_seconds(made.result)
    with pytest.raises(InputError, match="was made with seed = 0, not 3"):
        augment_scene(scene, parts, options=replace(FEW, seed=3))
    cube = scene.cube.copy()
    cube[20, 20] += 1
    with pytest.raises(InputError, match="was made with fingerprint"):
        augment_scene(scene.replace(cube=cube), parts, options=FEW)


def test_overwrite_makes_everything_anew(scene: Scene, tmp_path: Path) -> None:
    few = AugmentationOptions(
        per_class=(3,), draws=1, rows=("real", "mixtures"), classifiers=("svm",)
    )
    file = tmp_path / "field.npz"
    save_scene(scene.replace(labels=None), file)
    np.save(tmp_path / "labels.npy", scene.labels)
    out = tmp_path / "out"
    first = augment_scene(
        str(file), out, labels=tmp_path / "labels.npy", label_names=NAMES, options=few
    )
    assert first.result["agreement"] == {}
    assert first.result["draws"][0]["counts"]["3"]["generated"] is None
    (out / "mine.txt").write_text("kept")
    other = replace(few, seed=2)
    second = augment_scene(scene, out, options=other, overwrite=True)
    assert second.result["settings"]["seed"] == 2
    assert (out / "mine.txt").exists()


def test_a_generator_that_hands_out_test_pixels_is_caught(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(SMALL, rows=("real", "hud"), classifiers=("svm",))
    assert scene.labels is not None
    test = Experiment.of(scene, scene.labels, None, few).sides[0].test
    row, column = np.argwhere(test[:32, :44] > 0)[0]
    known = experiment.generate

    def leaking(*given: Any, **options: Any) -> Any:
        found = known(*given, **options)
        found.cubes[:] = scene.cube[row : row + 16, column : column + 16]
        return found

    monkeypatch.setattr(experiment, "generate", leaking)
    with pytest.raises(Leak, match="the row hud trains on the spectra of"):
        augment_scene(scene, tmp_path, options=few)
    assert not (tmp_path / "draws").exists()


def test_the_generator_never_sees_the_test_side(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hud_fast.augmentation import generator

    class Seen(Exception):
        pass

    def fit(given: Scene, **options: Any) -> None:
        assert np.isnan(given.cube[~given.valid]).all()
        assert given.labels is None
        raise Seen(int(given.valid.sum()))

    monkeypatch.setattr(generator.HUD, "fit", fit)
    few = replace(SMALL, draws=1)
    with pytest.raises(Seen) as seen:
        augment_scene(scene, tmp_path, options=few)
    assert seen.value.args[0] < 0.7 * scene.valid.sum()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": ("hud",)}, "--rows must hold real"),
        ({"rows": ("real", "gan")}, "--rows must be of real, .*, got 'gan'"),
        ({"classifiers": ()}, "--classifiers must be different names, got none"),
        ({"per_class": (5, 1)}, "--per-class must be at least 2, got 1"),
        ({"draws": 0}, "--draws must be at least 1"),
        ({"preset": "huge"}, "--preset must be of"),
        ({"size": (16, 5)}, "--size must be at least 7, got 5"),
    ],
)
def test_options_are_checked(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        augment_scene("nowhere.mat", tmp_path, options=replace(SMALL, **change))


def test_inputs_are_checked(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no labels of its own: give --labels"):
        augment_scene(scene.replace(labels=None), tmp_path, options=SMALL)
    with pytest.raises(InputError, match="must have the scene's shape"):
        augment_scene(scene, tmp_path / "a", labels=np.ones((4, 5), int), options=SMALL)
    one = np.where(scene.labels == 2, 2, 0)
    with pytest.raises(InputError, match="two classes that can train and test, got 1"):
        augment_scene(scene, tmp_path / "b", labels=one, options=SMALL)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("")
    with pytest.raises(InputError, match=r"holds no test of hud-fast augment .*thesis.txt"):
        augment_scene(scene, tmp_path / "c", options=SMALL)


def test_equal_spectra_are_taken_out_and_told(scene: Scene, tmp_path: Path) -> None:
    cube = np.round(scene.cube * 8) / 8  # a sensor of few counts
    few = AugmentationOptions(
        per_class=(3,), draws=1, rows=("real", "flips"), classifiers=("svm",), classifier_steps=1
    )
    found = augment_scene(scene.replace(cube=cube), tmp_path, options=few).result
    assert found["draws"][0]["split"]["twins"] > 0
    assert "were taken out of the test" in str(found["notes"])


def test_endmembers_take_the_class_of_most_labels() -> None:
    rng = np.random.default_rng(0)
    largest, classes = rng.integers(4, size=50), rng.choice([2, 5, 6], size=50)
    table = majority(largest, classes, D=5)
    for endmember in range(4):
        known: NDArray[np.int64] = classes[largest == endmember]
        most = max((2, 5, 6), key=lambda number: (known == number).sum())
        assert table[endmember] == most
    assert table[4] == 0


def test_a_real_scene(data_dir: Path, tmp_path: Path) -> None:
    scene = load_scene(data_dir / "salinas" / "SalinasA_with_labels.mat")
    few = AugmentationOptions(
        per_class=(5,),
        draws=1,
        endmembers=5,
        rows=("real", "spread", "hud"),
        classifiers=("svm",),
        added=20,
        cubes=4,
        classifier_steps=20,
        device="cpu",
    )
    result = augment_scene(scene, tmp_path, options=few).result
    assert all(one["used"] for one in result["classes"])
    rows = result["summary"]["5"]["svm"]["rows"]
    assert rows["real"]["oa"]["value"] > 0.7
    assert rows["hud"]["oa"]["value"] > 0.7
    assert result["agreement"]["5"]["cubes"]["value"] > 0.5
