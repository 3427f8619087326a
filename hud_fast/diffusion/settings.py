"""Settings of a preset changed by text, as the command line's ``--set NAME=VALUE`` gives them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from hud_fast.diffusion.presets import Preset

# the preset says what it is; these are not choices of a training
FIXED = frozenset(["name", "summary"])


def changed(preset: Preset, texts: Iterable[str]) -> Preset:
    """`preset` with the settings in `texts`, each NAME=VALUE; lists are written 32,64,64.

    Raises
    ------
    ValueError
        A text without "=", an unknown name, a value of the wrong kind or out of its range.

    Examples
    --------
    >>> from hud_fast.diffusion.presets import PRESETS
    >>> preset = changed(PRESETS["tiny"], ["prediction=v", "widths=32,32", "attention=no,no", "batch=4"])
    >>> preset.prediction, preset.widths, preset.attention, preset.batch
    ('v', (32, 32), (False, False), 4)
    """
    known = {field.name: getattr(preset, field.name) for field in fields(preset)}
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"Preset: a setting must be NAME=VALUE, got {text!r}")
        if name not in known or name in FIXED:
            raise ValueError(
                f"Preset: a setting must be one of {', '.join(sorted(set(known) - FIXED))}; got {name!r}"
            )
        values[name] = _read(name, value.strip(), known[name])
    return replace(preset, **values)


def _read(name: str, text: str, like: Any) -> Any:
    if isinstance(like, tuple):
        return tuple(_read(name, part.strip(), like[0]) for part in text.split(","))
    if isinstance(like, str):
        return text
    try:
        if isinstance(like, bool):
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        return type(like)(text)
    except (KeyError, ValueError):
        kinds = {bool: "yes or no", int: "a whole number", float: "a number"}
        raise ValueError(f"Preset: `{name}` must be {kinds[type(like)]}, got {text!r}") from None
