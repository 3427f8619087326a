"""What ``hud-fast info`` prints: everything a bug report or a newcomer asks for."""

from __future__ import annotations

import importlib.util
from typing import Any

from hud_fast.pipeline.progress import Progress


def info_text() -> str:
    """Return versions, build, machine, verdicts on GPU kernels, presets and catalogue as text."""
    values = info_values()
    sections: list[tuple[str, dict[str, Any]]] = [
        ("Versions", values["versions"]),
        (
            "Kernels",
            {key.replace("_", " "): _words(word) for key, word in values["kernels"].items()},
        ),
        ("Machine", values["machine"]),
        ("Presets", _presets()),
        ("Scenes (* = at hand on this machine)", _catalogue()),
    ]
    blocks = []
    for title, rows in sections:
        width = max(len(key) for key in rows)
        lines = (f"  {key:<{width}}  {value}" for key, value in rows.items())
        blocks.append("\n".join([title, *lines]))
    blocks[3:3] = [gpu_text()] if values["machine"]["GPU"] != "none" else []
    return "\n\n".join(blocks)


def info_values() -> dict[str, Any]:
    """Return the same as plain values, for ``--json``."""
    from dataclasses import asdict

    from hud_fast.diffusion import PRESETS
    from hud_fast.kernels import build_config
    from hud_fast.kernels.gpu_check import known
    from hud_fast.report.machine import machine, versions
    from hud_fast.scenes import CATALOGUE

    return {
        "versions": versions(),
        "kernels": build_config(),
        "machine": machine(),
        "gpu_kernels": [check.to_dict() for check in known()],
        "presets": {name: asdict(preset) for name, preset in PRESETS.items()},
        "scenes": {
            name: {"title": entry.title, "shape": entry.shape, "at_hand": at_hand(name)}
            for name, entry in CATALOGUE.items()
        },
    }


def gpu_text() -> str:
    """Return the verdicts on this machine's GPUs as a table."""
    from hud_fast.kernels.gpu_check import known

    tables = [check.table() for check in known()]
    title = "GPU kernels (proven ones run by themselves, torch does the rest)"
    return "\n".join(
        [title, *(tables or ["  no verdict on file: hud-fast info --check-gpu makes one"])]
    )


def check_gpus(progress: Progress) -> None:
    """Make the verdicts anew, one for each kind of card here; RuntimeError where there is no GPU."""
    import torch

    from hud_fast.kernels import check_gpu

    cards = {torch.cuda.get_device_name(n): n for n in reversed(range(torch.cuda.device_count()))}
    for number in sorted(cards.values()) or [0]:
        check_gpu(f"cuda:{number}", again=True, progress=progress)


def _presets() -> dict[str, str]:
    from hud_fast.diffusion import PRESETS

    return {
        name: (
            f"{preset.summary}\n      {preset.steps:,} steps of {preset.batch} windows of "
            f"{preset.crop} x {preset.crop}, widths {preset.widths}, {preset.layers} blocks a level, "
            f"learning rate {preset.learning_rate:g}, EMA {preset.ema_decay:g}, sampler "
            f"{preset.sampler} with {preset.sampler_steps} steps"
        )
        for name, preset in PRESETS.items()
    }


def _catalogue() -> dict[str, str]:
    from hud_fast.scenes import CATALOGUE

    rows = {}
    for name, entry in CATALOGUE.items():
        H, W, C = entry.shape
        rows[("* " if at_hand(name) else "  ") + name] = (
            f"{entry.title}, {entry.sensor}: {H} x {W} pixels, {C} bands, "
            f"{entry.endmembers} endmembers"
        )
    return rows


def at_hand(name: str) -> bool:
    """Return True if a scene of the catalogue can be loaded without the network."""
    from hud_fast._files import cache_folder
    from hud_fast.scenes import find_entry
    from hud_fast.scenes.fetch import data_folder, find_local

    if name == "indian-pines" and importlib.util.find_spec("tensorly") is not None:
        return True
    file = find_entry(name).cube.name
    places = [place for place in (data_folder(), cache_folder()) if place is not None]
    return any(find_local(file, place) is not None for place in places)


def _words(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
