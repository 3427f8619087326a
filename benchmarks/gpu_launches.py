"""Every CUDA kernel launched on small inputs: for compute-sanitizer, for ncu, and for what must be equal run by run.

    compute-sanitizer --tool racecheck --kernel-name kns=hud python benchmarks/gpu_launches.py
    ncu python benchmarks/gpu_launches.py --large fcls

Without a GPU the same steps run on the CPU, as loops (the log-projection and softmax as the CPU's kernels). Nothing is
judged here but that every number is there: tests/gpu does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hud_fast.kernels import log_project, simplex_softmax
from hud_fast.kernels.cosine.device import TileSearch
from hud_fast.kernels.cosine.launch import emulated, on_cuda
from hud_fast.kernels.fcls import device as fcls_device
from hud_fast.kernels.windows import device as windows_device

COUNTS = (
    5,
    16,
    24,
    40,
    70,
)  # endmembers: a thread, a group, a warp a pixel; beyond a group; the active set alone
Launch = Callable[[], tuple[Tensor, ...]]


def launches(device: torch.device, large: bool = False) -> Iterator[tuple[str, Launch]]:
    """Yield a name and a call that launches one operation's kernels and returns what they wrote."""
    on_gpu = device.type == "cuda"
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64).float().to(device)

    P = 1_000_000 if large else 67
    for D in (16,) if large else COUNTS:
        A = random(D, 200 if large else 91)
        shares = random(P, D) ** 4
        pixels = (shares / shares.sum(1, keepdim=True)) @ A + 0.02 * random(P, A.shape[1])
        for sum_to_one in (True,) if large else (True, False):
            yield f"fcls D={D}{'' if sum_to_one else ' nonnegative'}", _fcls(pixels, A, sum_to_one)

    rows, queries, C = (200_000, 100_000, 100) if large else (700, 260, 40)
    A = random(6, C)
    shares = random(rows + queries, 6) ** 4
    mixed = (shares / shares.sum(1, keepdim=True)) @ A
    mixed[:rows] += 1e-3 * random(rows, C)
    launcher = on_cuda(device) if on_gpu else emulated()
    for plan in ("auto",) if large else ("auto", "bands"):
        yield f"cosine {plan}", _cosine(mixed[rows:], mixed[:rows], launcher, plan)

    side, block, B = (600, 32, 64) if large else (30, 6, 5)
    scene, blocks = random(side, side + 7, 9), random(B, block, block + 1, 9)
    for way in ("fft",) if large else ("direct", "fft"):
        yield f"window {way}", _window(scene, blocks, way, "cuda" if on_gpu else "emulated")

    backend = "cuda" if on_gpu else "cpu"
    for shape, dim in (
        (((1 << 22, 16), 1),) if large else (((130, 9), 1), ((2, 16, 5, 13), 1), ((3, 1025), 1))
    ):
        x = random(*shape)
        for name, operation in (("log_project", log_project), ("simplex_softmax", simplex_softmax)):
            yield f"{name} {tuple(shape)}", _elementwise(operation, x, dim, backend)


def _fcls(pixels: Tensor, A: Tensor, sum_to_one: bool) -> Launch:
    tables = fcls_device.prepare(A, sum_to_one, False, pixels.device)

    def launch() -> tuple[Tensor, ...]:
        to = fcls_device.results(pixels, tables, True)
        for field in to:
            field.fill_(torch.nan if field.is_floating_point() else 77)
        fcls_device.solve(pixels, tables, to)
        return tuple(to)

    return launch


def _cosine(query: Tensor, reference: Tensor, launcher: object, plan: str) -> Launch:
    return lambda: TileSearch(query, reference, launcher, plan=plan).run(query)


def _window(scene: Tensor, blocks: Tensor, way: str, run: str) -> Launch:
    def launch() -> tuple[Tensor, ...]:
        before, windows_device.FORCED_PATH = windows_device.FORCED_PATH, way
        try:
            made = windows_device.DeviceWindowScene(
                scene, tuple(blocks.shape[1:3]), blocks.dtype, run=run
            )
            return tuple(made.search(blocks))
        finally:
            windows_device.FORCED_PATH = before

    return launch


def _elementwise(operation: Callable[..., Tensor], x: Tensor, dim: int, backend: str) -> Launch:
    def launch() -> tuple[Tensor, ...]:
        leaf = x.clone().requires_grad_()
        made = operation(leaf, dim, backend=backend)
        made.sum().backward()
        assert leaf.grad is not None
        return made.detach(), leaf.grad

    return launch


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--large", metavar="NAME", help="only what begins with this, at a real size"
    )
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name, launch in launches(device, options.large is not None):
        if name.startswith(options.large or ""):
            found = launch()
            missing = [int(t.isnan().sum()) for t in found if t.is_floating_point()]
            assert not any(missing), f"{name}: {missing} numbers are NaN"
            print(name, "on", device, flush=True)


if __name__ == "__main__":
    main()
