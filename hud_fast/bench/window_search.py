"""Group ``window_search``: block diversity's search (D_b) at stride 1, 32 x 32 blocks, against torch's convolution.

Generated blocks are mixtures of D endmembers, so D + 1 numbers a pixel are all that their cosines need ("keys");
`ours-channels` gets all C bands. `ours-mixtures` is `hud.block_diversity` itself, given abundances; `ours-index` asks a
scene that was made ready before, `index-build` makes it ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import inputs, truth
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.cosine_max import NO_SCENE

PROVIDERS = (
    "ours", "ours-index", "ours-mixtures", "ours-channels", "index-build", "reference", "torch-conv2d",
    "torch-conv2d-channels", "read",
)  # fmt: skip
SIDE, SIDE_SMALL = 32, 16
B, B_SMALL = 64, 16
_LANES = 16  # blocks that a vector kernel takes at once: slow providers do a multiple of it
LIMIT = 1e-9


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case(
            "window_search",
            f"{scene}, 32 x 32",
            PROVIDERS,
            _make(scene),
            quick=scene != "Pavia-size",
            headline=True,
        )
        for scene in ("Indian Pines", *inputs.PAVIA)
    ]


def _make(name: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        scene = inputs.real() if name == "Indian Pines" else inputs.simulated(name, quick)
        if scene is None:
            return Bench("block", {"ours": Missing(NO_SCENE, "ours")})
        if quick:
            scene = inputs.Searched(scene.cube[:64, :64], scene.endmembers, scene.abundances)
        return window_bench(scene, B_SMALL if quick else B, SIDE_SMALL if quick else SIDE)

    return make


def window_bench(scene: inputs.Searched, count: int, side: int) -> Bench:
    """Every provider on the same blocks and scene."""
    import torch

    import hud_fast
    from hud_fast.bench.inputs import into_span
    from hud_fast.kernels import window_search
    from hud_fast.kernels.cosine import span_basis

    abundances = inputs.mixture_blocks(scene, count, side)
    blocks = abundances @ scene.endmembers
    cube = scene.cube
    C = cube.shape[-1]
    basis = span_basis(torch.from_numpy(blocks.reshape(-1, C)))
    if basis is None:
        raise RuntimeError("bench: mixtures of few endmembers must lie in a small span")
    block_keys = into_span(torch.from_numpy(blocks.reshape(-1, C)), basis, inside=True)
    scene_keys = into_span(torch.from_numpy(cube.reshape(-1, C)), basis, inside=False)
    b_keys = block_keys.float().reshape(*blocks.shape[:3], -1)
    s_keys = scene_keys.float().reshape(*cube.shape[:2], -1)
    true = truth.window_value(blocks[0], cube)
    true_keys = truth.window_value(b_keys[0].numpy(), s_keys.numpy())

    def error(found: Any, value: float) -> float:
        first = found[0] if isinstance(found, tuple) else found
        return abs(float(first[0]) - value)

    def ours(call: Callable[[int], Any], value: float, limit: float = LIMIT) -> Run:
        return Run(
            call,
            items=count,
            kind="ours",
            step=_LANES,
            error=lambda found: error(found, value),
            limit=limit,
        )

    runs: dict[str, Run | Missing] = {
        "ours": ours(lambda n: window_search(b_keys[:n], s_keys), true_keys),
        "torch-conv2d": _conv2d(b_keys.numpy(), s_keys.numpy(), true_keys, error),
        "read": Run(lambda _: s_keys.amax(), items=count, kind="floor", note="the scene's keys"),
    }
    # All bands of the larger scenes cost convolution half a second a block and more: left to the keys.
    if cube.shape[0] * cube.shape[1] * C < 30e6:
        runs["ours-channels"] = ours(lambda n: window_search(blocks[:n], cube), true)
    if cube.shape[0] * cube.shape[1] * C < 5e6:
        runs["reference"] = Run(
            lambda n: window_search(b_keys[:n], s_keys, backend="torch"),
            items=count,
            kind="reference",
            step=1,
            error=lambda found: error(found, true_keys),
        )
        runs["torch-conv2d-channels"] = _conv2d(blocks, cube, true, error)

    def whole(n: int) -> Any:
        mixtures = hud_fast.Mixtures(abundances[:n], scene.endmembers)
        details = hud_fast.block_diversity(mixtures, cube, return_details=True)
        return np.asarray(details.similarity).reshape(-1)

    index = hud_fast.WindowIndex(cube, side, endmembers=scene.endmembers)
    # The blocks in float32 differ from exact mixtures by rounding.
    runs["ours-mixtures"] = ours(whole, true, 1e-7)
    runs["ours-index"] = ours(lambda n: index.search_mixtures(abundances[:n]), true, 1e-7)
    runs["index-build"] = Run(
        lambda _: hud_fast.WindowIndex(cube, side, endmembers=scene.endmembers),
        items=count,
        kind="part",
        note="over all blocks",
    )
    facts = {"B": count, "side": side, "H": cube.shape[0], "W": cube.shape[1], "C": C}
    return Bench("block", runs, {**facts, "keys": b_keys.shape[-1]})


def _conv2d(
    blocks: NDArray[np.float32],  # (B, h, w, C)
    scene: NDArray[np.float32],  # (H, W, C)
    value: float,
    error: Callable[[Any, float], float],
) -> Run:
    import torch

    unit_blocks, unit_scene = (truth.unit(part).astype(np.float32) for part in (blocks, scene))
    filters = torch.from_numpy(unit_blocks).permute(0, 3, 1, 2).contiguous()
    image = torch.from_numpy(unit_scene).permute(2, 0, 1)[None].contiguous()
    area = blocks.shape[1] * blocks.shape[2]

    def call(n: int) -> Any:
        found = []
        for part in filters[:n].split(_LANES):
            found.append(torch.nn.functional.conv2d(image, part).flatten(2).amax(2)[0] / area)
        return torch.cat(found)

    return Run(call, items=len(blocks), step=_LANES, error=lambda found: error(found, value))
