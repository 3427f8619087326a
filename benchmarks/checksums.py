"""Checksums of what every operation, metric and a short training give: does a change move a bit?

    python benchmarks/checksums.py --out before.json            # then change something, and
    python benchmarks/checksums.py --compare before.json        # exit code 1, and the names of what moved

Every instruction-set level of this machine, one and two threads, all dtypes, several layouts, hostile values; the
scenes of HUD_FAST_DATA (left out where it is not set: set it both times); the GPU's FCLS, cosine and window searches
emulated; the weights and cubes of short trainings. About five minutes. Bits depend on the machine, the compiler and
torch: compare on one machine only. HUD_FAST_BACKEND=triton and TRITON_INTERPRET=1 with ``--only latent noise``: the
Triton kernels.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

import hud_fast as hud
from hud_fast.diffusion.presets import PRESETS
from hud_fast.kernels import get_isa, isa_levels, log_standardize, sampler_step_at, set_isa

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDE = (torch.float32, torch.float64)
TRITON = os.environ.get("HUD_FAST_BACKEND") == "triton"
LINES = (
    ((33, 5), (16, 24), (7, 64), (2, 9, 31), (3, 300), (40, 1))
    if not TRITON
    else ((33, 5), (2, 9, 31))
)
PIXELS = 1500  # of a scene
Rows = Iterator[tuple[str, Any]]


def digest(value: Any) -> str:
    """Of arrays, numbers and what is made of them: shape, dtype and bits."""
    h = hashlib.sha256()
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        h.update(f"{value.dtype}{tuple(value.shape)}".encode())
        h.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    elif isinstance(value, np.ndarray):
        h.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value):
        h.update(digest({f.name: getattr(value, f.name) for f in fields(value)}).encode())
    elif isinstance(value, dict):
        h.update("".join(f"{k}{digest(v)}" for k, v in value.items()).encode())
    elif isinstance(value, (tuple, list)):
        h.update("".join(map(digest, value)).encode())
    else:
        h.update(repr(value).encode())
    return h.hexdigest()[:16]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def layouts(t: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "plain", t
    yield "turned", t.transpose(0, -1).contiguous().transpose(0, -1)
    yield "every other", t.repeat_interleave(2, -1)[..., ::2]


def with_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    x = at.clone().requires_grad_(True)
    out = function(x)
    return out, torch.autograd.grad((out * random(*out.shape, seed=9, dtype=out.dtype)).sum(), x)[0]


def latent() -> Rows:
    for dtype in FLOATS:
        for shape in LINES:
            z = random(*shape, dtype=dtype)
            D = shape[1]
            mean = torch.linspace(-1, 1, D, dtype=torch.float64)
            std = torch.linspace(0.5, 2, D, dtype=torch.float64)
            x = torch.softmax(z.double(), 1).to(dtype).clamp_min(0)
            x[0] = 0
            hard = z.clone()
            hard[0, 0], hard[-1, 0] = torch.nan, torch.inf
            name = f"{dtype} {shape}"
            for lay, t in layouts(z):
                yield f"softmax {name} {lay}", hud.simplex_softmax(t, dim=1)
            yield f"softmax {name} hard", hud.simplex_softmax(hard, dim=1)
            yield (
                f"softmax {name} gradient",
                with_gradient(lambda t: hud.simplex_softmax(t, dim=1), z),
            )
            yield f"log {name}", with_gradient(lambda t: hud.log_project(t, dim=1), x)
            yield (
                f"log standardized {name}",
                with_gradient(lambda t, m=mean, s=std: log_standardize(t, m, s, dim=1), x),
            )
            yield (
                f"standardized softmax {name}",
                with_gradient(lambda t, m=mean, s=std: hud.standardized_softmax(t, m, s, dim=1), z),
            )
            if D <= 256:
                ends = random(D, 33, seed=3).abs()
                maps = z.reshape(*shape[:2], 1, -1)
                yield f"decode {name}", hud.softmax_decode(maps, ends)
                yield (
                    f"decode standardized {name}",
                    hud.softmax_decode(maps, ends, mean=mean, std=std),
                )


def noise() -> Rows:
    table = torch.stack(
        [torch.linspace(0.1, 1, 20), torch.linspace(-1, 1, 20), torch.full((20,), 0.3)], 1
    )
    for dtype in FLOATS:
        for shape in ((1, 3, 5), (4, 9, 32), (2, 1, 1)):
            z, e = random(*shape, dtype=dtype), random(*shape, seed=1, dtype=dtype)
            signal = torch.linspace(0.1, 0.9, len(z))
            name = f"{dtype} {shape}"
            yield f"normal {name}", hud.normal_noise(shape, seed=3, step=2, first=5, dtype=dtype)
            yield f"q_sample {name}", hud.q_sample(z, signal, seed=4, step=1)
            factors = {"z_factor": 1.1, "eps_factor": -0.3, "noise_factor": 0.2}
            yield f"sampler_step {name}", hud.sampler_step(z, e, **factors, seed=5, step=7)
            yield f"sampler_step {name} given", hud.sampler_step(z, e, **factors, noise=e + 1)
            row = torch.tensor([3])
            yield f"sampler_step_at {name}", sampler_step_at(z, e, table.double(), row, seed=6)


def mixed(D: int, C: int, n: int, *, ill: bool = False) -> tuple[Tensor, Tensor]:
    """Noisy mixtures with a NaN pixel and a zero one, and their endmembers."""
    ends = random(D, C, seed=D, dtype=torch.float64).abs() + 0.1
    if ill:
        ends[D // 2 :] = ends[: D - D // 2] * (
            1 + 1e-6 * random(D - D // 2, C, dtype=torch.float64)
        )
    shares = torch.rand(n, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 4
    pixels = shares / shares.sum(1, keepdim=True) @ ends
    pixels += 0.02 * random(n, C, seed=2, dtype=torch.float64)
    pixels[3, 1], pixels[5] = torch.nan, 0
    return pixels, ends


SIZES = (
    (1, 4),
    (2, 5),
    (6, 50),
    (9, 103),
    (16, 200),
    (20, 64),
    (33, 96),
    (64, 100),
    (70, 90),
    (12, 8),
)


def fcls() -> Rows:
    ways: tuple[dict[str, Any], ...] = ({}, {"sum_to_one": False}, {"shade": True})
    for dtype in WIDE:
        for D, C in SIZES:
            for ill in (False, True):
                pixels, ends = mixed(D, C, 200, ill=ill and D > 1)
                for way in ways:
                    for lay, t in layouts(pixels.to(dtype)):
                        found = hud.fcls(t, ends, return_status=True, **way)
                        yield f"{dtype} {D} of {C} {'ill ' * ill}{way} {lay}", found
    for name, scene in scenes():
        ends = hud.vca(scene.pixels, 9, seed=0)
        yield f"{name} vca", ends
        yield f"{name}", hud.fcls(scene.pixels[:: max(1, len(scene.pixels) // PIXELS)], ends)


def cosine() -> Rows:
    for dtype in WIDE:
        for Q, P, C in ((1, 1, 1), (70, 130, 3), (500, 900, 40), (300, 2500, 203)):
            query, reference = random(Q, C, dtype=dtype), random(P, C, seed=1, dtype=dtype)
            if Q > 1:
                query[0], query[1], reference[0], reference[1] = 0, torch.nan, 0, torch.inf
            yield f"{dtype} {Q} in {P} of {C}", hud.cosine_max(query, reference)
    pixels, ends = mixed(9, 103, 6000)
    known = hud.CosineIndex(pixels, endmembers=ends)
    shares = torch.rand(900, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    yield "index, mixtures", known.search_mixtures(shares)
    yield "index, spectra", known.search(shares @ ends)
    yield "index, others", known.search(random(200, 103).abs())
    for name, scene in scenes():
        for dtype in ("float32", "float64"):
            rows = scene.pixels.astype(dtype)
            yield f"{name} {dtype}", hud.cosine_max(rows[:: len(rows) // 700] * 0.9 + 0.01, rows)


def windows() -> Rows:
    for dtype in WIDE:
        for shape in ((40, 50, 12), (33, 70, 40)):
            scene = random(*shape, dtype=dtype).abs()
            for side in (1, 3, 8, 20):
                blocks = torch.stack([scene[i : i + side, i : i + side] for i in (0, 3, 9, 13)])
                blocks = blocks + 0.05 * random(*blocks.shape, seed=side, dtype=dtype)
                ways: tuple[dict[str, Any], ...] = (
                    {},
                    {"norm": "block"},
                    {"stride": 3},
                    {"normalize": False},
                )
                for way in ways:
                    yield f"{dtype} {shape} {side} {way}", hud.window_search(blocks, scene, **way)
            scene[5, 5], scene[20, 20] = torch.nan, 0
            mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(0)) > 0.002
            yield f"{dtype} {shape} holes", hud.window_search(blocks[:, :6, :7], scene, mask=mask)
    for name, scene in scenes():
        cube = scene.cube
        blocks = np.stack([cube[i : i + 12, i : i + 12] for i in (0, 9, 15)])
        yield name, hud.window_search(0.9 * blocks + 0.02 * blocks.mean(), cube)


def emulated() -> Rows:
    """The GPU's searches and FCLS as loops on the host."""
    from hud_fast.kernels.cosine import device as cosine_device
    from hud_fast.kernels.cosine import launch as cosine_launch
    from hud_fast.kernels.fcls import device as fcls_device
    from hud_fast.kernels.windows import device as windows_device

    for dtype in WIDE:
        for D, C in ((3, 20), (9, 103), (16, 200), (24, 60), (40, 96), (70, 90)):
            for ill in (False, True):
                pixels, ends = mixed(D, C, 60, ill=ill)
                for sums in (True, False):
                    tables = fcls_device.prepare(ends, sums, False, torch.device("cpu"))
                    to = fcls_device.results(pixels.to(dtype), tables, True)
                    ways = fcls_device.solve(pixels.to(dtype), tables, to)
                    yield f"fcls {dtype} {D} of {C} {'ill ' * ill}{sums}", (ways, *to)
        for Q, P, C in ((70, 130, 3), (200, 700, 40)):
            query, reference = random(Q, C, dtype=dtype), random(P, C, seed=1, dtype=dtype)
            search = cosine_device.TileSearch(query, reference, cosine_launch.emulated())
            yield f"cosine {dtype} {Q} in {P} of {C}", search.run(query)
        pixels, ends = mixed(9, 103, 600)
        shares = torch.rand(90, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        tiles = cosine_device.TileSearch(shares, pixels, cosine_launch.emulated(), endmembers=ends)
        yield f"cosine {dtype} mixtures", tiles.run(shares @ ends)
        scene = random(24, 30, 7, dtype=dtype).abs()
        for side in (1, 3, 9):
            blocks = torch.stack([scene[i : i + side, i : i + side] for i in (0, 3, 9, 13)]) * 1.1
            for norm in ("pixel", "block"):
                ready = windows_device.DeviceWindowScene(
                    scene, (side, side), dtype, norm=norm, run="emulated"
                )
                yield f"windows {dtype} {side} {norm}", ready.search(blocks)


def metrics() -> Rows:
    for name, scene in [("simulated", hud.simulate_scene(60, 50, C=40, D=5, seed=3)), *scenes()]:
        ends = hud.vca(scene.pixels, 5, seed=0)
        shares = np.random.default_rng(0).dirichlet(np.full(5, 0.4), (3, 16, 16))
        cubes = (shares @ np.asarray(ends)).astype(np.float32)
        cubes[0] = scene.cube[3:19, 4:20] * 1.02
        yield f"{name} count", hud.count_endmembers(scene.pixels)
        yield f"{name} fidelity", hud.point_fidelity(cubes, scene.cube, return_details=True)
        yield (
            f"{name} fidelity of mixtures",
            hud.point_fidelity(hud.Mixtures(shares, ends), scene.cube),
        )
        for norm in ("pixel", "block"):
            found = hud.block_diversity(cubes, scene.cube, norm=norm, return_details=True)
            yield f"{name} diversity {norm}", found
        yield (
            f"{name} diversity of mixtures",
            hud.block_diversity(hud.Mixtures(shares, ends), scene.cube),
        )
        yield f"{name} evaluate", hud.evaluate(cubes, scene.cube, mask=scene.mask)
        yield f"{name} copies", hud.copy_check(cubes, scene.cube, seed=0)
        if name in ("simulated", "samson_1", "SalinasA_with_labels"):
            maps = hud.fcls(scene.cube, ends)
            yield f"{name} realism", hud.realism(shares.astype(np.float32), maps, ends, blocks=8)


def model() -> Rows:
    scene = hud.simulate_scene(48, 40, C=30, D=4, seed=1)
    short = replace(PRESETS["tiny"], steps=4, batch=4, T=50, checkpoint_every=2)
    presets = {
        "guided": short,
        "alone": PRESETS["instant"],
        "epsilon": replace(short, patches="no", prediction="epsilon", compile=False),
        "v": replace(
            short, patches="no", prediction="v", zero_terminal_snr=True, schedule="cosine"
        ),
        "min_snr": replace(short, patches="no", loss_weight="min_snr", accumulate=2),
    }
    for name, preset in presets.items():
        for raw in (False, True) if name == "epsilon" else (False,):
            made = hud.HUD.fit(scene, endmembers=4, preset=preset, raw_latent=raw, seed=0)
            name += " raw" * raw
            with tempfile.TemporaryDirectory() as folder:
                made.save(folder)
                for file in sorted(Path(folder).rglob("*")):
                    if file.is_file():
                        yield f"{name} {file.name}", _content(file)
                again = hud.HUD.load(folder)
            if name == "alone":
                yield f"{name} cubes", made.sample(3, size=40, seed=2, return_abundances=True)
                continue
            for sampler, steps in (("ddim", 3), ("dpm++", 3), ("ddpm", 50)):
                how: dict[str, Any] = {"sampler": sampler, "steps": steps}
                yield f"{name} {sampler}", made.sample(3, size=16, seed=2, **how)
            yield f"{name} large", again.sample(1, size=(80, 70), seed=3, steps=2, sampler="ddim")
    several, _ = hud.fit_scenes(
        [scene, hud.simulate_scene(40, 40, C=20, D=4, seed=2)], preset=presets["epsilon"]
    )
    start = hud.HUD.fit(scene, preset=presets["epsilon"], start=several)
    yield "start from several", start.sample(2, size=16, sampler="ddim", steps=2)


def _content(file: Path) -> Any:
    """Of a saved model's file; the order of a safetensors header is not always the same."""
    if file.suffix == ".safetensors":
        return dict(sorted(load_file(file).items()))
    if file.suffix != ".json":
        return file.read_bytes()
    return {k: v for k, v in json.loads(file.read_text()).items() if "version" not in k}


def scenes() -> Iterator[tuple[str, hud.Scene]]:
    """Those of HUD_FAST_DATA that a reader takes as they are."""
    root = os.environ.get("HUD_FAST_DATA")
    for name in (
        "indian_pines/Indian_pines_corrected.mat",
        "samson/samson_1.mat",
        "salinas/SalinasA_with_labels.mat",
        "pavia_centre/pavia_centre_crop_105x120.mat",
        "urban/subimage_Urban_R162.mat",
        "abu/abu-beach-2.mat",
    ):
        path = Path(root or "") / name
        if root and path.is_file():
            yield path.stem, hud.load_scene(path)


@contextlib.contextmanager
def running(level: str, threads: int) -> Iterator[None]:
    before, many = get_isa(), torch.get_num_threads()
    set_isa(level)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        set_isa(before)
        torch.set_num_threads(many)


GROUPS: dict[
    str, tuple[Callable[[], Rows], bool]
] = {  # and whether levels matter beyond the widest
    "latent": (latent, True),
    "noise": (noise, True),
    "fcls": (fcls, True),
    "cosine": (cosine, True),
    "windows": (windows, True),
    "emulated": (emulated, False),
    "metrics": (metrics, False),
    "model": (model, False),
}


def checksums(groups: list[str]) -> dict[str, str]:
    found = {}
    for group in groups:
        rows, each_level = GROUPS[group]
        levels = isa_levels() if each_level and not TRITON else isa_levels()[-1:]
        for level in levels:
            for threads in (1, 2) if group not in ("emulated", "model") else (1,):
                began = time.perf_counter()
                with running(level, threads):
                    for name, value in rows():
                        found[f"{group}: {level}, {threads} threads: {name}"] = digest(value)
                print(
                    f"{group} {level} {threads}: {time.perf_counter() - began:.0f} s",
                    file=sys.stderr,
                )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write them to a file")
    parser.add_argument("--compare", type=Path, help="with those of a file")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    given = parser.parse_args()
    found = checksums(given.only)
    print(f"{len(found)} checksums, {len(set(found.values()))} of them different")
    if given.out:
        given.out.write_text(json.dumps(found, indent=0))
    if not given.compare:
        return 0
    before = json.loads(given.compare.read_text())
    before = {name: value for name, value in before.items() if name.split(":")[0] in given.only}
    moved = [name for name in before.keys() | found if before.get(name) != found.get(name)]
    for name in sorted(moved):
        what = "is new" if name not in before else "is gone" if name not in found else "has moved"
        print(f"{name} {what}")
    print(f"{len(moved)} of {len(before)} moved")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
