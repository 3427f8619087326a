"""What the report says: titles and captions of the figures, and the numbers in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# name of the figure -> (title, caption). The order is the order of the page.
CAPTIONS: dict[str, tuple[str, str]] = {
    "panels": (
        "What it looks like",
        "Three bands shown as red, green and blue. All pictures share one stretch, taken from the "
        "real scene. Real blocks are taken at random; the generated ones are the first that were "
        "made, not the best.",
    ),
    "labelled_samples": (
        "Cubes with their class maps",
        "The first generated cubes and, below each, the class of every pixel as it came with the cube. Light grey: no "
        "class has more than half of the pixel. The maps are as right as the labels that were given and spread below.",
    ),
    "label_maps": (
        "The labels that the model learned",
        "What was given, and what it was spread to: each pixel takes the classes of pixels beside it and of those that "
        "look most like it. Light grey: not given, or no class has more than half.",
    ),
    "spectral_density": (
        "Are the spectra right?",
        "Every spectrum of the scene (above) and every generated one (below), laid over each "
        "other: the darker, the more pixels have that value in that band. The two should have the "
        "same shape. Grey columns are wavelengths that the scene does not contain.",
    ),
    "abundance_maps": (
        "Where each endmember is in the real scene",
        "Unmixing writes every pixel as a mixture of a few pure spectra, the endmembers. A map "
        "shows the share of one endmember in each pixel; the shares of a pixel add up to one. The "
        "diffusion model learns to draw such maps.",
    ),
    "generated_abundances": (
        "Where each endmember is in a generated cube",
        "The same maps for the first generated cubes. They are what the diffusion model "
        "draws; mixing the endmembers by them gives the cube.",
    ),
    "endmembers": (
        "The endmembers",
        "The pure spectra found in the scene, each with its mean share over all pixels; the others "
        "are faint in the background. Lines break where bands are missing.",
    ),
    "residual_map": (
        "What the endmembers do not explain",
        "How far each real pixel is from the best mixture of the endmembers. Generated spectra are "
        "such mixtures, so this is the detail they cannot have: more endmembers make it smaller.",
    ),
    "training_curve": (
        "Training",
        "The loss should fall and then level off. If it still falls at the end, more steps help.",
    ),
}


@dataclass(frozen=True)
class KeyNumber:
    """One number of the report: its name, value, meaning, and what real data give."""

    name: str
    value: str
    meaning: str
    references: list[tuple[str, str]] = field(default_factory=list)


def key_numbers(metrics: Mapping[str, Any]) -> list[KeyNumber]:
    """Put the numbers of ``hud_fast.metrics.evaluate`` into words, most important first.

    Parameters
    ----------
    metrics : mapping
        What ``evaluate`` returned; ``unmixing``, from ``unmixing_summary``, may be added.

    Examples
    --------
    >>> numbers = key_numbers({"point_fidelity": 0.9991, "block_diversity": 0.97, "ratio": 0.9709})
    >>> [(number.name, number.value) for number in numbers][0]
    ('Point fidelity', '0.99910')
    """
    numbers = [
        KeyNumber(
            "Point fidelity",
            _digits(metrics["point_fidelity"]),
            "Are the spectra right? Cosine between each generated spectrum and the most similar real "
            "one, averaged: 1 is a perfect match.",
            _references(metrics, "point_fidelity"),
        ),
        KeyNumber(
            "Block diversity",
            _digits(metrics["block_diversity"]),
            "Are the cubes new? Cosine between each generated block and the most similar place in "
            "the scene, averaged: lower is newer, 1 is a copy.",
            _references(metrics, "block_diversity"),
        ),
        KeyNumber(
            "Diversity / fidelity",
            _digits(metrics.get("ratio")),
            "Both in one number, as in the paper: newer blocks at equal fidelity make it smaller. "
            "Copies of the scene would have the value of jittered copies.",
            _references(metrics, "ratio"),
        ),
    ]
    copies = metrics.get("copy_check")
    if copies:
        numbers.append(_copies(copies))
    simplex = metrics.get("simplex")
    if simplex:
        numbers.append(
            KeyNumber(
                "Physically possible pixels",
                f"{100 * simplex['share']:.4g} %",
                "Generated pixels that are true mixtures: no negative share of an endmember, and "
                "shares that add up to one.",
                [
                    ("smallest share", f"{simplex['smallest']:.2e}"),
                    ("largest error of a sum", f"{simplex['largest_sum_error']:.1e}"),
                ],
            )
        )
    unmixing = metrics.get("unmixing")
    if unmixing:
        error = f"{100 * unmixing['relative_rmse']:.2f} %"
        numbers.append(
            KeyNumber(
                "Unmixing",
                _digits(unmixing["reconstruction_cosine"]),
                "How well mixtures of the endmembers rebuild the real spectra (mean cosine). The "
                "detail that is lost here is missing from the generated spectra too.",
                [
                    ("worst pixel", _digits(unmixing["reconstruction_cosine_min"])),
                    ("error, of the signal", error),
                ],
            )
        )
    return numbers


def _copies(copies: Mapping[str, Any]) -> KeyNumber:
    expected = copies["expected_share"] * copies["blocks"]
    meaning = (
        "Generated blocks that resemble one place in the scene more than real blocks from elsewhere "
        f"ever do (turned and mirrored too). About {expected:.1f} would be by chance; many more mean "
        "that the model has memorised the scene."
    )
    if not copies["conclusive"]:
        meaning = (
            "Generated blocks that look like copies. This scene is too uniform to tell: even real "
            "blocks from elsewhere resemble each other as much as a copy would."
        )
    return KeyNumber(
        "Near copies",
        f"{copies['near_copies']} of {copies['blocks']}",
        meaning,
        [
            ("most similar block", _digits(copies["similarity"]["max"])),
            ("called a copy above", _digits(copies["threshold"])),
            ("a perfect copy has", _digits(copies["copy_similarity"])),
        ],
    )


def _references(metrics: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    reference = metrics.get("reference")
    if not reference:
        return []
    return [
        ("real data, halves", _digits(reference["halves"][name])),
        ("jittered copies", _digits(reference["jittered_copies"][name])),
    ]


def _digits(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.5f}"
