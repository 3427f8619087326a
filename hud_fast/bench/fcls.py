"""Group ``fcls``: abundances of a whole scene, against SPAMS, SciPy and quadprog.

The peers are what people use: SPAMS's ``decompSimplex`` (the same problem, compiled, float64, Gram matrix), SciPy's
NNLS with the sum as one heavy equation, quadprog pixel by pixel. The floor reads the pixels once; the projection
onto D directions is a part of the work that no solver can leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import inputs, truth
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.peers import peer

SIZES = ((103, 9), (188, 12), (200, 16), (220, 16), (200, 32))
HARD = ((103, 9), (200, 16), (200, 32))
PROVIDERS = (
    "ours", "ours-float32", "ours-plain-scene", "reference", "spams", "scipy-nnls", "quadprog", "read", "projection",
)  # fmt: skip
P, P_SMALL = 100_000, 2_000
WEIGHT = 1e3  # of the sum's equation in NNLS: less lets the sum go, more loses digits
_JUDGED = 2_000  # pixels whose certificate is computed


def cases() -> list[Case]:
    """Return the cases of the group."""
    found = []
    for C, D in SIZES:
        found.append(
            Case("fcls", f"C={C} D={D}", PROVIDERS, _simulated(C, D), quick=D <= 9, headline=True)
        )
    for C, D in HARD:
        found.append(
            Case("fcls", f"C={C} D={D}, 1 % duplicates", PROVIDERS, _simulated(C, D, True))
        )
    for way in ("VCA", "class means"):
        found.append(
            Case(
                "fcls",
                f"Indian Pines, 16 {way}",
                PROVIDERS,
                _indian_pines(way),
                quick=way == "VCA",
                headline=way == "VCA",
            )
        )
    for name, (_, D) in inputs.OF_USERS.items():
        found.append(Case("fcls", f"{name}, {D} VCA", PROVIDERS, _of_users(name), headline=D != 3))
    return found


def _simulated(C: int, D: int, hard: bool = False) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        count = P_SMALL if quick else P
        plain = inputs.mixed_pixels(count, C, D).pixels if hard else None
        return _bench(inputs.mixed_pixels(count, C, D, hard=hard), plain)

    return make


def _indian_pines(way: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        found = inputs.class_means() if way == "class means" else inputs.real()
        if found is None:
            why = "Indian Pines is not at hand (hud-fast fetch indian-pines, or HUD_FAST_DATA)"
            return Bench("pixel", {"ours": Missing(why, "ours")})
        step = 10 if quick else 1
        pixels = np.ascontiguousarray(found.pixels[::step], np.float64)
        return _bench(inputs.Pixels(pixels, found.endmembers.astype(np.float64)))

    return make


def _of_users(name: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        found = inputs.of_users(name)
        if found is None:
            source = inputs.OF_USERS[name][0]
            how = "HUD_FAST_DATA" if source.endswith(".mat") else f"hud-fast fetch {source}"
            return Bench(
                "pixel", {"ours": Missing(f"{name} is not at hand ({how}: {source})", "ours")}
            )
        step = 10 if quick else 1
        return _bench(inputs.Pixels(np.ascontiguousarray(found.pixels[::step]), found.endmembers))

    return make


def _bench(made: inputs.Pixels, plain: NDArray[Any] | None = None) -> Bench:
    import torch

    from hud_fast.kernels import fcls

    pixels, A = np.ascontiguousarray(made.pixels), made.endmembers
    narrow, A_narrow = pixels.astype(np.float32), A.astype(np.float32)
    count = len(pixels)
    tensor = torch.from_numpy(pixels)
    basis = torch.from_numpy(np.linalg.qr((A - A.mean(0)).T)[0])
    error = _error(pixels, A)

    def ours(y: NDArray[Any], E: NDArray[Any], limit: float) -> Run:
        return Run(lambda _: fcls(y, E), kind="ours", limit=limit, items=count, error=_error(y, E))

    runs: dict[str, Run | Missing] = {
        "ours": ours(pixels, A, 1e-12),
        # Rounding the abundances to float32 alone moves the gap to about 1e-8 where endmembers are alike.
        "ours-float32": ours(narrow, A_narrow, 1e-5),
        "reference": Run(
            lambda n: fcls(pixels[:n], A, backend="torch"),
            kind="reference",
            step=256,
            items=count,
            error=error,
        ),
        "spams": peer("spams", lambda spams: _spams(spams, pixels, A)),
        "scipy-nnls": Run(lambda n: _nnls(pixels[:n], A), step=64, items=count, error=error),
        "quadprog": peer("quadprog", lambda quadprog: _quadprog(quadprog, pixels, A)),
        "read": Run(lambda _: tensor.amax(), items=count, kind="floor"),
        "projection": Run(lambda _: tensor @ basis, items=count, kind="part", note="torch.mm"),
    }
    if plain is not None:
        runs["ours-plain-scene"] = Run(
            lambda _: fcls(plain, A), items=count, kind="part", note="same size without duplicates"
        )
    return Bench("pixel", runs, {"P": count, "C": pixels.shape[1], "D": len(A)})


def _error(pixels: NDArray[Any], A: NDArray[Any]) -> Callable[[Any], float]:
    def error(found: Any) -> float:
        dense = found.toarray().T if hasattr(found, "toarray") else found
        # Evenly over all that was solved, in the order of the scene.
        step = max(1, len(dense) // _JUDGED)
        return truth.fcls_error(pixels[: len(dense)][::step], A, dense[::step])

    return error


def _spams(spams: Any, pixels: NDArray[Any], A: NDArray[Any]) -> Run:
    import torch

    # One pixel a column of a Fortran array, which is the memory order of (P, C) already. computeXtX: the Gram matrix.
    columns, dictionary = np.asfortranarray(pixels.T), np.asfortranarray(A.T)

    def call(_: int) -> Any:
        return spams.decompSimplex(
            columns, dictionary, computeXtX=True, numThreads=torch.get_num_threads()
        )

    return Run(call, items=len(pixels), error=_error(pixels, A), note="decompSimplex, Gram")


def _nnls(pixels: NDArray[Any], A: NDArray[Any]) -> NDArray[np.float64]:  # (n, D)
    from scipy.optimize import nnls

    size = float(np.abs(A).max())
    tall = np.vstack([A.T / size, np.full(len(A), WEIGHT)])
    return np.stack([nnls(tall, np.append(pixel / size, WEIGHT))[0] for pixel in pixels])


def _quadprog(quadprog: Any, pixels: NDArray[Any], A: NDArray[Any]) -> Run:
    D = len(A)
    gram = A @ A.T
    constraints = np.hstack([np.ones((D, 1)), np.eye(D)])  # the first is an equation
    bounds = np.zeros(D + 1)
    bounds[0] = 1.0

    def call(n: int) -> NDArray[np.float64]:
        linear = pixels[:n] @ A.T
        return np.stack([quadprog.solve_qp(gram, row, constraints, bounds, 1)[0] for row in linear])

    return Run(call, items=len(pixels), step=64, error=_error(pixels, A), note="pixel by pixel")
