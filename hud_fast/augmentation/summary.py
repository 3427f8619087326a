"""All draws together: means, intervals and paired differences, and what a reader must know before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hud_fast.augmentation.rows import CONTROLS, TITLES
from hud_fast.augmentation.scores import MEASURES, difference, mean_of

Draws = Sequence[Mapping[str, Any]]  # the entries "draws" of augment.json


def summary_of(
    draws: Draws, per_class: Sequence[int], classifiers: Sequence[str], rows: Sequence[str]
) -> dict[str, Any]:
    """By count of labels and classifier: every row, and who is ahead of whom by how much."""
    return {
        str(count): {name: _table(draws, str(count), name, rows) for name in classifiers}
        for count in per_class
    }


def agreement_of(draws: Draws, per_class: Sequence[int]) -> dict[str, Any]:
    """By count of labels, how well an independent classifier and the generated maps agree."""
    found = {}
    for count in map(str, per_class):
        known = [draw["counts"][count]["agreement"] for draw in draws]
        if known and all(known):
            found[count] = {
                key: mean_of([one[key] for one in known])
                for key in ("real", "cubes", "ratio", "real_aa", "cubes_aa")
            }
    return found


def _table(draws: Draws, count: str, classifier: str, rows: Sequence[str]) -> dict[str, Any]:
    scores = {
        row: [draw["counts"][count]["rows"][row][classifier] for draw in draws] for row in rows
    }
    values = {
        row: {measure: [score[measure] for score in found] for measure in MEASURES}
        for row, found in scores.items()
    }
    means = {row: _means(found, values[row]) for row, found in scores.items()}
    controls = [row for row in CONTROLS if row in rows and draws]
    best = max(controls, key=lambda row: means[row]["oa"]["value"], default=None)
    pairs = [(f"{row} - real", row, "real", False) for row in rows if row != "real"]
    for row in ("hud", "both"):
        if row in rows and best is not None:
            pairs.append((f"{row} - control", row, best, True))
        if row in rows and "spread" in rows:
            pairs.append((f"{row} - spread", row, "spread", False))
    return {
        "rows": means,
        "best_control": best,
        "differences": {
            name: {
                "row": one,
                "against": other,
                "is_control": control,
                **{m: difference(values[one][m], values[other][m]) for m in MEASURES},
                "f1": [
                    difference(a, b)
                    for a, b in zip(_f1(scores[one]), _f1(scores[other]), strict=True)
                ],
            }
            for name, one, other, control in pairs
            if other in rows
        },
    }


def _means(scores: Draws, values: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    confusions = [score["confusion"] for score in scores]
    pooled = [
        [sum(cells) for cells in zip(*lines, strict=True)]
        for lines in zip(*confusions, strict=True)
    ]
    return {
        **{measure: mean_of(values[measure]) for measure in MEASURES},
        "f1": [mean_of(of) for of in _f1(scores)],
        "confusion": pooled,
    }


def _f1(scores: Draws) -> list[list[float | None]]:  # a class, a draw
    return [list(of) for of in zip(*(score["f1"] for score in scores), strict=True)]


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers, in whole sentences."""
    settings, draws = result["settings"], result["draws"]
    notes = [
        "Whole connected fields train or test; between the sides lie two pixels of neither, and no window crosses. "
        "Endmembers, generator and classifiers saw the train side alone.",
        "Every added set holds as many windows of each class, and in the training of every classifier the real labels "
        "of a class weigh as much as what was added to it. A class that lacks windows of a row gets its real ones "
        "again.",
        "Intervals are Student's t at 95 % over draws of labels and fields of this scene; another scene may differ "
        "by more.",
    ]
    if any(row in settings["rows"] for row in CONTROLS):
        notes.append(
            f"The best control is the one of {', '.join(TITLES[row] for row in CONTROLS)} with the highest mean OA in "
            "this very table: chosen afterwards, which favours it."
        )
    cut = [
        f"{one['name']} (draws {', '.join(map(str, one['cut_in']))})"
        if len(one["cut_in"]) < settings["draws"]
        else one["name"]
        for one in result["classes"]
        if one["used"] and one["cut_in"]
    ]
    if cut:
        notes.append(
            f"Of one field alone, which was cut in two, so that train and test are of the same field: {', '.join(cut)}."
        )
    notes += [
        f"{one['name']} is left out: {one['why']}." for one in result["classes"] if not one["used"]
    ]
    twins = sum(draw["split"]["twins"] for draw in draws)
    if twins:
        notes.append(
            f"{twins} test pixels of all draws were taken out of the test, since the very same spectrum stands on the "
            "train side, too."
        )
    fewest = {
        one["name"]: least
        for one in result["classes"]
        if one["used"]
        and draws
        and (least := min(draw["split"]["classes"][str(one["number"])]["train"] for draw in draws))
        < max(settings["per_class"])
    }
    if fewest:
        listed = ", ".join(f"{name} ({least})" for name, least in fewest.items())
        notes.append(f"Fewer labels than asked for on the train side, in the worst draw: {listed}.")
    return notes
