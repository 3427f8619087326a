"""Group ``gpu_fcls``: abundances of a whole scene on a GPU.

`ours` and `ours-float64` are the whole call with the endmembers' factors, `ours-ready` launches on tables and results
made before, as a CUDA graph would. `reference` is the batched active set in torch on the same device, a few pixels of
it; the projection onto D directions in float64 is a part that no solver can leave out, and the floor reads the pixels
once. Pixels are float32 and made on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hud_fast.bench import gpu_inputs, truth
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.gpu import device, rehearsing

SIZES = ((103, 9), (188, 12), (200, 16), (220, 16), (200, 32))
HARD = ((200, 16), (200, 32))
PROVIDERS = ("ours", "ours-ready", "ours-float64", "reference", "projection", "read")
P, P_SMALL = 10_000_000, 500
_STEP = 4096  # pixels of the reference
_JUDGED = 2_000
# Rounding the abundances to float32 alone moves the gap to about 1e-8 where endmembers are alike.
LIMIT, LIMIT_FLOAT32 = 1e-12, 1e-5


def cases() -> list[Case]:
    """Return the cases of the group."""
    plain = [
        Case(
            "gpu_fcls",
            f"C={C} D={D}",
            PROVIDERS,
            _make(C, D, False),
            quick=(C, D) in ((103, 9), (200, 32)),
            headline=(C, D) == (200, 16),
        )
        for C, D in SIZES
    ]
    hard = [
        Case("gpu_fcls", f"C={C} D={D}, 1 % duplicates", PROVIDERS, _make(C, D, True))
        for C, D in HARD
    ]
    return plain + hard


def _make(C: int, D: int, hard: bool) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        count = P_SMALL if quick else P
        return _bench(*gpu_inputs.mixed_pixels(count, C, D, hard=hard))

    return make


def _bench(narrow: Any, E: Any) -> Bench:  # (P, C) float32, (D, C) float64
    import torch

    from hud_fast.kernels import fcls
    from hud_fast.kernels.fcls import device as fcls_device

    on, count = device(), len(narrow)
    small = narrow[: max(1, count // 4)].double()  # float64 pixels of a quarter of the scene
    A = E.cpu().numpy()
    basis = torch.linalg.qr((E - E.mean(0)).T)[0]
    ready = fcls_device.prepare(E, True, False, on)
    to = fcls_device.results(narrow, ready, False)

    def error(found: Any) -> float:
        rows = slice(None, None, max(1, len(found) // _JUDGED))
        y = narrow[: len(found)][rows].double()
        return truth.fcls_error(y.cpu().numpy(), A, found[rows].cpu().numpy())

    def ours(pixels: Any) -> Any:
        if not rehearsing():
            return fcls(pixels, E, backend="cuda")
        tables = fcls_device.prepare(E, True, False, on)
        found = fcls_device.results(pixels, tables, False)
        fcls_device.solve(pixels, tables, found)
        return found.abundances

    def launch(_: int) -> Any:
        fcls_device.solve(narrow, ready, to)
        return to.abundances

    runs: dict[str, Run | Missing] = {
        "ours": Run(lambda _: ours(narrow), count, "ours", error, LIMIT_FLOAT32),
        "ours-ready": Run(launch, count, "ours", error, LIMIT_FLOAT32, note="tables made before"),
        "ours-float64": Run(lambda _: ours(small), len(small), "ours", error, LIMIT),
        "reference": Run(
            lambda n: fcls(narrow[:n], E, backend="torch"),
            count,
            "reference",
            error,
            LIMIT_FLOAT32,
            step=min(_STEP, count),
        ),
        "projection": Run(
            lambda _: small @ basis, len(small), "part", note="torch.mm of float64 pixels"
        ),
        "read": Run(lambda _: narrow.amax(), count, "floor", note="float32 pixels, once"),
    }
    plan = fcls_device.plan(narrow, ready)
    facts = {"P": count, "C": narrow.shape[1], "D": len(A), "plan": plan, **_ways(narrow, ready)}
    return Bench("pixel", runs, facts)


def _ways(pixels: Any, ready: Any) -> dict[str, Any]:
    """How many pixels the emulation's rounds leave to the active set, of a few: the device does not tell."""
    if not rehearsing():
        return {}
    from hud_fast.kernels.fcls import device as fcls_device

    rounds, alone = fcls_device.solve(pixels, ready, fcls_device.results(pixels, ready, False))
    return {"rounds": rounds, "alone": alone}
