"""Group ``gpu_window_search``: block diversity's search on a GPU, 32 x 32 blocks at stride 1.

As in `window_search`, blocks are mixtures of D endmembers, so that D + 1 numbers a pixel ("keys") are all that cosines
need; `ours-channels` gets all C bands. `ours` is a call with everything; `ours-ready` the search alone in a scene that
was made ready before, as block diversity does it. Peers: torch's convolution in float32 (TF32 off) and its Fourier
transform of the whole scene, both with the largest score taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hud_fast.bench import gpu_inputs, inputs
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.cosine_max import NO_SCENE
from hud_fast.bench.gpu import rehearsing

PROVIDERS = ("ours", "ours-ready", "ours-channels", "torch-conv2d", "torch-fft", "read")
COUNTS = (64, 1000)
SIDE, SIDE_SMALL = 32, 16
DIFFERENT = 64  # blocks; more are these again
LIMIT = 1e-9
_TOGETHER = 16  # blocks of one convolution
_SPECTRA = 4  # blocks of one transform: each is as large as the scene


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case(
            "gpu_window_search",
            f"{scene}, {count} blocks of 32 x 32",
            PROVIDERS,
            _make(scene, count),
            quick=scene == "Indian Pines" and count == COUNTS[0],
            headline=scene == "Pavia-size" and count == COUNTS[1],
        )
        for scene in ("Indian Pines", *inputs.PAVIA)
        for count in COUNTS
    ]


def _make(name: str, count: int) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        real = name == "Indian Pines"
        scene = gpu_inputs.indian_pines() if real else gpu_inputs.simulated(name, quick)
        if scene is None:
            return Bench("block", {"ours": Missing(NO_SCENE, "ours")})
        if quick:
            scene = replace(scene, cube=scene.cube[:64, :64].contiguous())
        return _bench(scene, _TOGETHER if quick else count, SIDE_SMALL if quick else SIDE)

    return make


def _bench(scene: gpu_inputs.Searched, count: int, side: int) -> Bench:
    import torch

    from hud_fast.bench.inputs import into_span
    from hud_fast.kernels.cosine import span_basis
    from hud_fast.kernels.windows import prepare

    backend = "emulated" if rehearsing() else "cuda"
    some = gpu_inputs.mixture_blocks(scene, min(count, DIFFERENT), side)
    blocks = some.repeat(-(-count // len(some)), 1, 1, 1)[:count]
    cube = scene.cube
    C = cube.shape[-1]
    basis = span_basis(some.reshape(-1, C))
    if basis is None:
        raise RuntimeError("bench: mixtures of few endmembers must lie in a small span")
    b_keys = into_span(blocks.reshape(-1, C), basis, inside=True).float()
    s_keys = into_span(cube.reshape(-1, C), basis, inside=False).float()
    b_keys, s_keys = b_keys.reshape(*blocks.shape[:3], -1), s_keys.reshape(*cube.shape[:2], -1)
    true_keys = gpu_inputs.true_window_value(b_keys[0], s_keys)

    def prepared(s: torch.Tensor) -> Any:
        return prepare(s, (side, side), s.dtype, backend=backend)

    def of(
        call: Callable[[int], Any], value: float = true_keys, ours: bool = False, step: int = 0
    ) -> Run:
        def error(found: Any) -> float:
            first = found[0] if isinstance(found, tuple) else found
            return abs(float(first[0]) - value)

        return Run(
            call,
            items=count,
            kind="ours" if ours else "peer",
            step=step,
            error=error,
            limit=LIMIT if ours else float("inf"),
        )

    ready = prepared(s_keys)
    runs: dict[str, Run | Missing] = {
        "ours": of(lambda n: prepared(s_keys).search(b_keys[:n]), ours=True, step=_TOGETHER),
        "ours-ready": of(lambda n: ready.search(b_keys[:n]), ours=True, step=_TOGETHER),
        "torch-conv2d": of(_conv2d(b_keys, s_keys), step=_TOGETHER),
        "torch-fft": of(_fft(b_keys, s_keys), step=_TOGETHER),
        "read": Run(lambda _: s_keys.amax(), items=count, kind="floor", note="the scene's keys"),
    }
    if cube.numel() < 30e6:
        all_bands, true = prepared(cube), gpu_inputs.true_window_value(some[0], cube)
        runs["ours-channels"] = of(
            lambda n: all_bands.search(blocks[:n]), true, ours=True, step=_TOGETHER
        )
    facts = {"B": count, "side": side, "H": cube.shape[0], "W": cube.shape[1], "C": C}
    plan = {key: value for key, value in ready.plan.items() if key != "tied"}
    return Bench("block", runs, {**facts, "keys": b_keys.shape[-1], "plan": plan})


def _unit(pixels: Any) -> Any:  # (..., K) -> (..., K) float32
    import torch

    return torch.nn.functional.normalize(pixels.double(), dim=-1, eps=1e-300).float()


def _conv2d(blocks: Any, scene: Any) -> Callable[[int], Any]:
    import torch

    filters = _unit(blocks).permute(0, 3, 1, 2).contiguous()
    image = _unit(scene).permute(2, 0, 1)[None].contiguous()
    area = blocks.shape[1] * blocks.shape[2]

    def call(n: int) -> Any:
        found = []
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for part in filters[:n].split(_TOGETHER):
                found.append(torch.nn.functional.conv2d(image, part).flatten(2).amax(2)[0] / area)
        return torch.cat(found)

    return call


def _fft(blocks: Any, scene: Any) -> Callable[[int], Any]:
    import torch
    from scipy.fft import next_fast_len

    h, w = blocks.shape[1:3]
    H, W = scene.shape[:2]
    size = (next_fast_len(H, real=True), next_fast_len(W, real=True))
    filters = _unit(blocks).permute(0, 3, 1, 2).contiguous()
    spectra = torch.fft.rfft2(_unit(scene).permute(2, 0, 1), s=size)

    def call(n: int) -> Any:
        found = []
        for part in filters[:n].split(_SPECTRA):
            products = (spectra * torch.fft.rfft2(part, s=size).conj()).sum(1)
            scores = torch.fft.irfft2(products, s=size)[:, : H - h + 1, : W - w + 1]
            found.append(scores.flatten(1).amax(1) / (h * w))
        return torch.cat(found)

    return call
