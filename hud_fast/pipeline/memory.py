"""How much memory a command needs, told before it starts, and whether this process may have it.

The need is what was measured: the peak beside a multiple of the scene, of the cubes that are made, and of what a
training or a batch of samples holds. It is told to a fifth; only what is missing by more than that is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hud_fast._cores import cores_for
from hud_fast._limits import available_memory, memory_limit, resident_memory
from hud_fast._text import size_text
from hud_fast.diffusion import processes
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.sampling import CPU_GROUP, samples_at_once
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.progress import Reporter

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.pipeline.options import ModelOptions

MIB = 1 << 20
# Measured peaks (docs/dependable.md) on a CPU; what lies on a GPU is counted here, too.
PROGRAM = 350 * MIB  # Python, torch
NETWORK, BACKWARD = 150 * MIB, 100 * MIB  # diffusers; what a training takes of no size
# Candidates of patches, of which there are no more than those of so many pixels.
LAYING, PIXELS = 400 * MIB, 40_000
RUN, EVALUATION = 250 * MIB, 400 * MIB  # what measuring and drawing hold of no size
# Times the scene's cube in float32.
UNMIXING = 2.1
MEASURING = 2.3
GENERATED = 3.0  # of the cubes that are made: they, their maps, and what is made of them
DRAWN = 64  # real blocks of the cubes' size that they are compared beside
STATES = 6  # of the network's weights: they, their average, the gradient, two moments, a checkpoint
KEPT = 40  # numbers that a training keeps for the way back, a window's pixel and channel of the network, a layer
HELD = 10  # the same, where nothing goes back
SURE = 0.8  # of a need: less than this is not enough for certain


@dataclass(frozen=True)
class Need:
    """Bytes of memory at the peak, the program's own included, of disk, and what makes them less."""

    memory: float
    lower: str
    disk: float = 0

    def fits(self) -> bool:
        """May this process have so much, for all it knows?"""
        free = available_memory()
        if free is None:
            return True
        return self.memory <= min(free + resident_memory(), memory_limit() or math.inf)

    def check(self, what: str, reporter: Reporter) -> None:
        """Tell the need, and refuse where this process may not have it.

        Raises
        ------
        InputError
            It may have less for certain: a container's limit, one of the shell's, or what the machine has left.
        """
        disk = f", {size_text(self.disk)} of disk" if self.disk else ""
        reporter.say(f"  needs about {size_text(self.memory)} of memory{disk}")
        free = available_memory()
        if free is None:
            return
        may = min(free + resident_memory(), memory_limit() or math.inf)
        if SURE * self.memory > may:
            raise InputError(
                f"{what} needs about {size_text(self.memory)} of memory, this process may have "
                f"{size_text(may)}: {self.lower}"
            )


def of_job(
    scene: tuple[int, int, int],  # H, W, C
    preset: Preset,
    made: tuple[int, int, int] = (0, 0, 0),  # B, h, w
    measuring: int = RUN,
) -> Need:
    """Of a command that unmixes a scene, trains, and, where `made` says so, generates and measures.

    Examples
    --------
    >>> from hud_fast.diffusion.presets import PRESETS
    >>> need = of_job((145, 145, 200), PRESETS["tiny"], (64, 32, 32))
    >>> size_text(need.memory), size_text(need.disk)
    ('848.9 MiB', '387.7 MiB')
    """
    H, W, C = scene
    cube, cubes = 4 * H * W * C, 4 * math.prod(made) * (C + 16)
    beside = 4 * DRAWN * made[1] * made[2] * C
    stages = {
        "a smaller scene": UNMIXING * cube,
        "a lower --set batch or a higher --set accumulate": cube + _training(preset),
        "--set patches=no": cube + _laying(preset, H * W),
        "fewer --samples or a smaller --size": (
            measuring + MEASURING * cube + beside + GENERATED * cubes if cubes else 0
        ),
    }
    lower = max(stages, key=lambda name: stages[name])
    # twice: one array of all, and one file a cube; beside it checkpoints, the model, pictures
    disk = 2 * cubes + 200 * MIB + 3 * STATES * 4 * _weights(preset)
    return Need(PROGRAM + stages[lower], f"take {lower}", disk)


def of_unmixing(scene: tuple[int, int, int]) -> Need:
    """Of endmembers, abundances and figures of a scene (H, W, C)."""
    H, W, C = scene
    return Need(PROGRAM + UNMIXING * 4 * H * W * C, "take a smaller scene")


def of_samples(
    size: tuple[int, int],
    channels: int,  # bands and endmembers
    count: int,
    preset: Preset,
    at_once: int | None = None,
) -> Need:
    """Of cubes that are written as they are made: a batch, and what the network holds of one."""
    h, w = size
    # with a network, what is larger than a tile is made alone, in tiles that all cores share
    tiled = preset.trains and max(size) > 2 * preset.crop
    held = samples_at_once() if tiled or at_once is None else at_once
    each = 1 if tiled else min(count, held)
    batch = 4 * each * h * w * channels
    together = CPU_GROUP * cores_for(-(-held // CPU_GROUP))
    network = 4 * together * min(h * w, (2 * preset.crop) ** 2) * _channels(preset, HELD)
    network += NETWORK if preset.trains else 0
    disk = 2 * 4 * count * h * w * channels
    return Need(
        PROGRAM + _laying(preset, PIXELS) + GENERATED * batch + network,
        "take a smaller --size",
        disk,
    )


def of_measuring(scene: tuple[int, int, int], made: tuple[int, int, int]) -> Need:
    """Of a comparison of cubes (B, h, w) with a scene (H, W, C)."""
    B, h, w = made
    values = MEASURING * math.prod(scene) + (DRAWN + GENERATED * B) * h * w * scene[2]
    need = PROGRAM + RUN + 4 * values
    return Need(need, "compare fewer cubes, or with a part of the scene")


def in_parts(
    options: ModelOptions, scene: tuple[int, int, int], reporter: Reporter
) -> ModelOptions:
    """`options` with a training batch in as many parts (``accumulate``) as `--memory` asks for, where it asks.

    Parts add up to the same step but for rounding, and are settings of the job: it goes on with the same ones only.
    """
    most, preset = memory_limit(), options.resolve()
    if most is None or not preset.trains:
        return options
    cube = 4 * math.prod(scene)
    share, parts = preset.batch // processes.count(), preset.accumulate
    possible = [n for n in range(parts, share + 1) if share % n == 0]
    for parts in possible:
        if PROGRAM + cube + _training(replace(preset, accumulate=parts)) <= most:
            break
    if parts == preset.accumulate:
        return options
    reporter.say(f"  accumulate={parts} keeps the training to --memory")
    return replace(options, settings=(*options.settings, f"accumulate={parts}"))


def few_at_once(model: HUD, count: int, size: tuple[int, int]) -> int | None:
    """How many samples at a time keep to `--memory`; None where it says nothing. On a CPU this changes no bit."""
    most = memory_limit()
    if most is None or model.device.type != "cpu":
        return None
    possible = range(samples_at_once(), CPU_GROUP, -CPU_GROUP)
    needs = ((n, of_samples(size, model.C + model.D, count, model.preset, n)) for n in possible)
    return next((n for n, need in needs if need.memory <= most), CPU_GROUP)


def _weights(preset: Preset) -> int:
    """About how many the network has, to a twentieth for the presets."""
    return 9 * sum(w * w for w in preset.widths) * 7 * (preset.layers + 1) if preset.trains else 0


def _channels(preset: Preset, each: int) -> float:
    """What the network makes of a pixel, all levels and layers together, `each` of them so many times."""
    if not preset.trains:
        return 0
    levels: float = sum(width / 4**level for level, width in enumerate(preset.widths))
    return levels * each * (preset.layers + 1) / 2


def _laying(preset: Preset, pixels: int) -> float:
    return LAYING * min(1, pixels / PIXELS) if preset.patches != "no" else 0


def _training(preset: Preset) -> float:
    if not preset.trains:
        return 0
    pixels = preset.batch / preset.accumulate * preset.crop**2
    held: float = STATES * _weights(preset) + pixels * _channels(preset, KEPT)
    return NETWORK + BACKWARD + 4 * held
