"""The Triton kernels as the compiler sees them, without a GPU; the tiles that launches are planned with."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from hud_fast.kernels._backend import interpreting

pytest.importorskip("triton")

from hud_fast.kernels.latent import triton_decode as decode
from hud_fast.kernels.latent import triton_simplex as simplex
from hud_fast.kernels.latent import triton_standardize as standardize
from hud_fast.kernels.noise import triton as diffusion
from hud_fast.kernels.noise.normal_noise import Address
from hud_fast.kernels.triton import resources

compiled = pytest.mark.skipif(interpreting(), reason="the interpreter compiles nothing")
EVERY = dict(resources.launches())
# All in float32 for Hopper; of the other dtypes and for the other processors a part: what differs there is the
# compiler's part, not the kernel's. `benchmarks/gpu_resources_triton.py` compiles everything for all.
PART = [n for n in EVERY if ("D=16" in n or " D=" not in n) and "odd" not in n]
HOPPER = [n for n in EVERY if n in PART or n.endswith(", float32")]
OTHERS = [n for n in PART if n.endswith(", float32") and "backward" not in n and "rows" not in n]


def check(name: str, capability: int) -> None:
    found = resources.resource(EVERY[name], capability)
    assert found["cubin_bytes"] > 0
    assert found["spill_bytes"] == 0, found
    # a division of doubles is a call, with a frame of its own
    assert found["stack_bytes"] <= 8 * ("float64" in name), found
    assert found["shared_bytes"] <= 48 << 10, found
    # 128 leave 16 warps on a multiprocessor; long lines are rare
    limit = 224 if "long" in name or "D=300" in name else 192 if "decode" in name else 128
    assert found["registers"] <= limit, found


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", HOPPER)
def test_every_kernel_compiles_for_hopper_without_spills(name):
    check(name, 90)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 100])
@pytest.mark.parametrize("name", OTHERS)
def test_the_main_ones_compile_for_ampere_and_blackwell(name, capability):
    check(name, capability)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def edges():
    """Sizes of 1, which the compiler takes for constants, and sizes beyond 32 bits."""
    for n in (1, 2**31 + 1):
        x = meta(n)
        yield f"log_project {n}", simplex.log_project(x, x, 1e-4, x)
        signal = meta(1, dtype=torch.float64)
        y = meta(1, n)
        step = diffusion.affine(y, z=y, noise_out=y, signal=signal, address=Address(0, 1, 1))
        yield f"q_sample {n}", step
    for outer, D, inner in ((1, 1, 1), (1, 1, 35), (2**31, 3, 1), (2, 3, 2**30), (1, 300, 2**31)):
        x, m = meta(outer, D, inner), meta(D, dtype=torch.float64)
        sizes = (outer, D, inner)
        for b in (None, x):
            yield f"softmax {sizes}", simplex.softmax(x, x, sizes, x=b, mean=m, std=m)
            if D < 300:
                launch = standardize.log_standardize(x, x, sizes, 1e-4, m, m, b)
                yield f"log_standardize {sizes}", launch
    for D, H, C in ((1, 1, 1), (3, 2**30, 4), (20, 2**31, 5)):
        z, cube, A = meta(1, D, H, 1), meta(1, H, 1, C), meta(D, C)
        yield f"softmax_decode {D} {H} {C}", decode.softmax_decode(z, cube, A)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("launch", [pytest.param(launch, id=name) for name, launch in edges()])
def test_the_smallest_and_the_largest_sizes_compile(launch):
    assert launch.compile(90).asm["cubin"]


@compiled
def test_subnormals_are_not_flushed():
    """Softmax's smallest weights are subnormal; the square root of the noise and nothing else may flush."""
    text = EVERY["simplex_softmax forward, maps D=16, float32"].compile(90).asm["ptx"]
    assert ".ftz" not in text
    assert ".approx" not in text


@compiled
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_deviations_are_inverted_to_nearest(way):
    """Once a tile. A division by what full precision is called there, two units off, is left to the gradient's own."""
    x, m = meta(1000, 9), meta(9, dtype=torch.float64)
    grad = x if way == "backward" else None
    launch = standardize.log_standardize(x, x, (1000, 9, 1), 1e-4, m, m, grad)
    text = launch.compile(90).asm["ptx"]
    assert "div.rn.f32" in text
    assert ("div.full.f32" in text) == (way == "backward")


@compiled
def test_doubles_stay_doubles():
    """A constant that the compiler read as float32 would pass every test but the last digits on a GPU."""
    launch = EVERY["log_project forward, float64"]
    text = launch.compile(90).asm["ttir"]
    assert "0.693147180369123" in text
    assert "f32" not in text


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("D", [1, 2, 3, 5, 7, 9, 16, 17, 37, 64, 100, 255, 257, 513, 5000])
def test_rows_are_read_in_lines_that_waste_little(D, itemsize):
    width = standardize.period(D, itemsize)
    assert width % D == 0
    padded = 1 << (width - 1).bit_length()
    assert width == D or padded * itemsize <= 2048
    assert width / padded > (0.75 if D <= 100 else 0.5)
    assert D > 64 or width * itemsize % 16 == 0


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("inner", [1, 2, 35, 1024, 10**7])
@pytest.mark.parametrize("D", [1, 3, 16, 64, 256, 257, 4096, 8192, 10000])
def test_a_tile_of_lines_fits_registers(D, inner, itemsize):
    whole, lines, block, warps = simplex.softmax_tile(D, inner, itemsize)
    for n in (lines, block, warps):
        assert n & (n - 1) == 0
    assert whole == (block >= D)
    assert lines * block <= warps * 32 * (8 if itemsize == 8 else 32)
    assert inner == 1 or lines < 2 * inner
    assert inner < 128 or lines * itemsize >= 128


def test_a_failed_launch_names_operation_and_shape(monkeypatch):
    x = torch.ones(2, 3)
    launch = simplex.log_project(x, x, 1e-4)
    broken = type(launch)(None, 1, {}, {}, 4)
    with pytest.raises(
        RuntimeError, match=r"^q: Triton launch failed for shape \(2, 3\), torch.fl"
    ):
        broken.run("q", x)
    with pytest.raises(RuntimeError, match=r"^q: too many tiles for one launch, shape \(2, 3\)"):
        type(launch)(None, 2**31, {}, {}, 4).run("q", x)


LIKE_A_LAUNCH = """
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    class Driver:  # a GPU as far as a launch asks before it launches
        get_current_target = lambda self: GPUTarget("cuda", 90, 32)
        get_current_device = lambda self: 0
        get_current_stream = lambda self, device: 0

    driver.set_active(Driver())
    from hud_fast.kernels.triton import resources

    wanted = ("log_project backward", "log_standardize forward, rows D=9", "q_sample, step", "sampler_step_at, past",
              "simplex_softmax forward, maps, odd", "sampler_step, no noise", "softmax_decode D=9")
    for name, launch in resources.launches((torch.float32,)):
        if not name.startswith(wanted):
            continue
        held = {k: torch.empty(64, dtype=v.dtype) if isinstance(v, torch.Tensor) else v
                for k, v in launch.arguments.items()}
        kernel = launch.kernel.warmup(**held, **launch.constants, **launch._options(), grid=(launch.programs,))
        signature, constants, hints = launch._types()
        places = lambda found: {k if isinstance(k, tuple) else (k,): v for k, v in found.items() if v != []}
        assert kernel.src.signature == signature, name
        assert places(kernel.src.constants) == places(constants), name
        assert places(kernel.src.attrs) == hints, name
        print(name)
"""


@pytest.mark.slow
def test_a_launch_takes_its_arguments_as_they_are_compiled_here():
    """All that a launch does before the GPU: Triton's own binding of the arguments, then its compiler."""
    quiet = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(LIKE_A_LAUNCH)],
        env=quiet,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 7
