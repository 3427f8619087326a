"""The report page: one HTML file that needs nothing beside it.

First the answer (what was made from what, and how good it is), then the pictures, then how it was done. Figures
are embedded as base64 PNG; there is no script and nothing is loaded from the network, so the file can be mailed
and will look the same in ten years.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write
from hud_fast._text import printable, size_text
from hud_fast.report.machine import machine, time_text, versions
from hud_fast.report.panels import check_generated
from hud_fast.report.realism import realism_section
from hud_fast.report.style import figure_png
from hud_fast.report.words import CAPTIONS, KeyNumber, key_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene


def write_report(
    folder: str | os.PathLike[str],
    *,
    scene: Scene,
    generated: NDArray[np.float32],  # (B, h, w, C)
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
    figures: Mapping[str, Figure],
    memory: Mapping[str, int] | None = None,
) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into `folder` and return the page's path.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    scene : Scene
        The real scene.
    generated : (B, h, w, C) float array
        The generated cubes; only their count and size are used here.
    metrics : mapping
        What ``hud_fast.metrics.evaluate`` returned; ``realism``, from ``hud_fast.metrics.realism``, may be added.
    settings : mapping
        Name and value of every choice of the run, in the order in which they are shown.
    timings : mapping
        Seconds of each stage.
    figures : mapping
        ``matplotlib`` figures by name; the names in ``words.CAPTIONS`` come first and get their
        captions, others follow under their own name.
    memory : mapping, optional
        Peak memory in bytes, ``cpu`` and ``gpu``.

    Returns
    -------
    Path
        ``folder/report.html``.

    Raises
    ------
    ValueError
        `generated` does not fit the scene.
    OSError
        `folder` cannot be written, or the disk is full; no half-written page is left.
    """
    generated = check_generated("write_report", scene, generated)
    home = Path(folder)
    pictures = []
    order = [name for name in CAPTIONS if name in figures]
    order += [name for name in figures if name not in CAPTIONS]
    for name in order:
        data = figure_png(figures[name])
        with atomic_write(home / "figures" / f"{name}.png") as file:
            file.write(data)
        pictures.append(_figure(name, data))
    page = _page(scene, generated, metrics, settings, timings, memory or {}, pictures)
    path = home / "report.html"
    with atomic_write(path, "w") as file:
        file.write(page)
    return path


def _page(
    scene: Scene,
    generated: NDArray[np.float32],
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
    memory: Mapping[str, int],
    pictures: list[str],
) -> str:
    css = files("hud_fast.report").joinpath("page.css").read_text(encoding="utf-8")
    name = escape(scene.name)
    notes = []
    if scene.simulated:
        notes.append(
            "<strong>Simulated scene.</strong> The &ldquo;real&rdquo; data on this page were made "
            "by a program (linear mixing of smooth random fields), not measured."
        )
    notes += [escape(printable(text)) for text in metrics.get("notes", [])]
    cards = "".join(_card(number) for number in key_numbers(metrics))
    realism = metrics.get("realism")
    tables = _table("Settings", {k: _value(v) for k, v in settings.items()})
    tables += _table("Time", _times(timings))
    tables += _table("Machine", {**machine(), **_memory(memory)})
    tables += _table("Versions", versions())
    tables += _table("The scene", _scene_facts(scene))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="hud-fast {escape(versions()["hud-fast"])}">
<title>Generated from {name} - hud-fast</title>
<style>
{css}</style>
</head>
<body>
<main>
<header>
<h1>Hyperspectral cubes generated from {name}</h1>
<p class="lead">{_lead(scene, generated, settings, timings)}</p>
{"".join(f'<p class="note">{note}</p>' for note in notes)}
</header>
<section class="cards">
{cards}</section>
<p class="soft">Below the line, the first three cards have the same number for real data, to compare
with. &ldquo;Halves&rdquo;: blocks of one half of the scene against the other half, what an honest
generator can reach. &ldquo;Jittered copies&rdquo;: blocks of the scene with a little noise against
the scene, what a generator that only memorises would give.</p>
{realism_section(realism) if realism else ""}{"".join(pictures)}
<h2>How it was made</h2>
<div class="tables">
{tables}</div>
<footer>Made by hud-fast with the Hyperspectral Unmixing Diffusion model (HUD, arXiv 2506.02601):
the scene is unmixed into endmember spectra and abundance maps, a diffusion model learns the maps,
new maps are drawn from it and mixed back into spectra.</footer>
</main>
</body>
</html>
"""


def _lead(
    scene: Scene,
    generated: NDArray[np.float32],
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
) -> str:
    B, h, w, C = generated.shape
    H, W = scene.cube.shape[:2]
    span = ""
    if scene.wavelengths is not None and np.isfinite(scene.wavelengths).any():
        low, high = np.nanmin(scene.wavelengths), np.nanmax(scene.wavelengths)
        span = f" from {low:.0f} to {high:.0f} nm"
    endmembers = settings.get("endmembers")
    through = f", described by {escape(str(endmembers))} endmembers" if endmembers else ""
    took = f" The whole run took {time_text(sum(timings.values()))}." if timings else ""
    return (
        f"<strong>{B} new cubes</strong> of {h} &times; {w} pixels and {C} bands, generated from one "
        f"{'simulated' if scene.simulated else 'real'} scene, <strong>{escape(scene.name)}</strong> "
        f"({H} &times; {W} pixels, {C} bands{span}{through}).{took}"
    )


def _card(number: KeyNumber) -> str:
    beside = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in number.references
    )
    beside = f"<dl>{beside}</dl>" if beside else ""
    return (
        f'<div class="card"><h3>{escape(number.name)}</h3>'
        f'<div class="value">{escape(number.value)}</div>'
        f"<p>{escape(number.meaning)}</p>{beside}</div>\n"
    )


def _figure(name: str, png: bytes) -> str:
    return picture(
        *CAPTIONS.get(name, (name.replace("_", " ").capitalize(), "")),
        png,
    )


def picture(title: str, caption: str, png: bytes) -> str:
    """A picture that lies in the page itself, under its title."""
    data, title = base64.b64encode(png).decode("ascii"), escape(printable(title))
    under = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<h2>{title}</h2>\n<figure><img alt="{title}" src="data:image/png;base64,{data}">'
        f"{under}</figure>\n"
    )


def _table(title: str, rows: Mapping[str, Any]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(printable(key))}</th><td>{escape(printable(value))}</td></tr>'
        for key, value in rows.items()
    )
    return f"<section><h3>{escape(title)}</h3><table>{body}</table></section>\n" if body else ""


def _times(timings: Mapping[str, float]) -> dict[str, str]:
    rows = {name: time_text(seconds) for name, seconds in timings.items()}
    if len(rows) > 1:
        rows["total"] = time_text(sum(timings.values()))
    return rows


def _memory(memory: Mapping[str, int]) -> dict[str, str]:
    names = {"cpu": "largest memory used", "gpu": "largest GPU memory used"}
    return {names.get(key, key): size_text(value) for key, value in memory.items()}


def _scene_facts(scene: Scene) -> dict[str, str]:
    H, W, C = scene.cube.shape
    values = scene.valid_pixels
    facts = {
        "name": scene.name + (" (simulated)" if scene.simulated else ""),
        "size": f"{H} x {W} pixels, {C} bands",
        "valid pixels": f"{int(scene.valid.sum()):,} of {H * W:,}",
    }
    if values.size:
        facts["values"] = f"{float(np.nanmin(values)):.6g} to {float(np.nanmax(values)):.6g}"
    if scene.scale != 1:
        facts["scale"] = f"file value = value x {scene.scale:g}"
    if getattr(scene, "source", None):
        facts["file"] = str(Path(str(scene.source)).name)
    if "part" in scene.details:
        facts["part"] = scene.details["part"]
    return facts


def _value(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
