"""What the compiler says of every kernel, for any GPU and without one: registers, spills, shared memory."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from triton.backends.nvidia.compiler import get_ptxas

from hud_fast.kernels.latent import triton_decode as decode
from hud_fast.kernels.latent import triton_simplex as simplex
from hud_fast.kernels.latent import triton_standardize as standardize
from hud_fast.kernels.noise import triton as diffusion
from hud_fast.kernels.noise.normal_noise import Address
from hud_fast.kernels.triton.launch import Launch

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
CAPABILITIES = (80, 90, 100)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).split(".")[1]


def launches(dtypes: tuple[torch.dtype, ...] = DTYPES) -> Iterator[tuple[str, Launch]]:
    """Each kernel as scenes and batches launch it: name and launch, on tensors without memory."""
    for dtype in dtypes:

        def like(*shape: int, dtype: torch.dtype = dtype) -> Any:
            return torch.empty(shape, dtype=dtype, device="meta")

        def doubles(*shape: int) -> Any:
            return torch.empty(shape, dtype=torch.float64, device="meta")

        place = torch.empty(1, dtype=torch.int64, device="meta")
        x = like(64, 16, 32, 32)
        for grad, direction in ((None, "forward"), (x, "backward")):
            launch = simplex.log_project(x, x, 1e-4, grad)
            yield f"log_project {direction}, {_name(dtype)}", launch
        # 9 and 35 are no multiples of an access: loads are then one value wide.
        for layout, outer, D, inner in (
            ("maps", 64, 16, 1024),
            ("maps", 64, 9, 1024),
            ("maps", 64, 64, 1024),
            ("maps, odd", 64, 16, 35),
            ("maps, long", 64, 300, 1024),
            ("rows", 1 << 20, 16, 1),
            ("rows", 1 << 20, 9, 1),
            ("rows", 1 << 20, 64, 1),
            ("rows, long", 1 << 10, 9001, 1),
        ):
            a = like(outer, D, inner)
            statistics = {"mean": doubles(D), "std": doubles(D)}
            for x, direction in ((None, "forward"), (a, "backward")):
                what = f"{direction}, {layout} D={D}, {_name(dtype)}"
                yield (
                    f"simplex_softmax {what}",
                    simplex.softmax(a, a, (outer, D, inner), x=x),
                )
                yield (
                    f"standardized_softmax {what}",
                    simplex.softmax(a, a, (outer, D, inner), x=x, **statistics),
                )
                if "long" not in layout:
                    launch = standardize.log_standardize(
                        a, a, (outer, D, inner), 1e-4, **statistics, grad=x
                    )
                    yield f"log_standardize {what}", launch
        z, address = like(64, 16, 32, 32), Address(1, 2, 3)
        noisy = {"z": z, "noise_out": z, "signal": doubles(64), "address": address}
        table = {"z": z, "e": z, "table": doubles(1000, 6), "row": place, "address": address}
        for what, arguments in {
            "q_sample": noisy,
            "q_sample, step on the device": noisy | {"address": Address(1, 0, 0, place, place)},
            "sampler_step, noise drawn": {"z": z, "e": z, "address": address},
            "sampler_step, noise given": {"z": z, "e": z, "noise": z},
            "sampler_step, no noise": {"z": z, "e": z},
            "sampler_step_at": table,
            "sampler_step_at, past": table | {"past": z},
            "normal_noise": {"address": address},
        }.items():
            yield f"{what}, {_name(dtype)}", diffusion.affine(z, **arguments)
        odd = like(64, 9, 7, 5)
        launch = diffusion.affine(odd, z=odd, noise_out=odd, signal=doubles(64), address=address)
        yield f"q_sample, odd, {_name(dtype)}", launch
        for D, C in ((16, 200), (9, 103), (64, 224), (300, 200)):
            z, cube = like(8, D, 32, 32), like(8, 32, 32, C)
            spectra = doubles(D, C) if dtype == torch.float64 else doubles(D, C).float()
            launch = decode.softmax_decode(z, cube, spectra, doubles(D), doubles(D))
            yield f"softmax_decode D={D} C={C}, {_name(dtype)}", launch


def resources(
    capabilities: tuple[int, ...] = CAPABILITIES,
    dtypes: tuple[torch.dtype, ...] = DTYPES,
) -> list[dict[str, Any]]:
    """Compile every kernel of `launches` for sm_80, sm_90, ...: one entry each, see `resource`."""
    return [
        {"name": name, "capability": capability, **resource(launch, capability)}
        for name, launch in launches(dtypes)
        for capability in capabilities
    ]


def resource(launch: Launch, capability: int) -> dict[str, Any]:
    """Registers a thread, bytes spilled and of stack, static and dynamic shared memory, warps; and the PTX."""
    compiled = launch.compile(capability)
    ptx = compiled.asm["ptx"]
    target = re.search(r"^\.target (sm_\w+)", ptx, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        ptxas = [
            get_ptxas(capability).path,
            "-v",
            f"--gpu-name={target and target[1]}",
            str(source),
        ]
        ptxas += ["-o", str(source.with_suffix(".cubin"))]
        done = subprocess.run(ptxas, check=True, capture_output=True, text=True)

    def figure(pattern: str) -> int:
        found = re.search(pattern, done.stderr)
        return int(found[1]) if found else 0

    return {
        "kernel": compiled.metadata.name,
        "registers": figure(r"Used (\d+) registers"),
        "spill_bytes": figure(r"(\d+) bytes spill stores") + figure(r"(\d+) bytes spill loads"),
        "stack_bytes": figure(r"(\d+) bytes stack frame"),
        "shared_bytes": int(compiled.metadata.shared),
        "warps": int(compiled.metadata.num_warps),
        "cubin_bytes": len(compiled.asm["cubin"]),
    }
