"""The Triton kernels of the diffusion's passes against extended precision, and in graphs that replay other steps."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from devices import DEVICE, ON_GPU, captured, gpu_only, with_triton

import hud_fast as hud
from hud_fast.kernels import sampler_step_at

DTYPES = ["float32", "float64", "float16", "bfloat16"]
# Around the edges of tiles: rows of 9 in lines of 252, planes beside 2048 values, one place, long lines.
SHAPES = [
    ((1, 1), 1),
    ((28, 9), 1),
    ((225, 9), 1),
    ((57, 3), 1),
    ((130, 16), 1),
    ((3, 2049), 1),
    ((3, 5, 7, 5), 1),
    ((2, 3, 2047), 1),
    ((2, 3, 2049), 1),
    ((1, 300, 33), 1),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("shape", "dim"), SHAPES)


def wide(t: torch.Tensor) -> np.ndarray:
    return t.detach().double().cpu().numpy()


def draw(shape, dtype: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values.to(DEVICE, getattr(torch, dtype))


def own(dtype: str) -> tuple[float, float]:
    """What rounding the result costs, and the unit of the arithmetic before it."""
    eps = torch.finfo(getattr(torch, dtype)).eps
    return (0.505 * eps, 2.0**-23) if eps > 1e-5 else (0.0, eps)


def statistics(D: int) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = torch.linspace(-5, -1, D).double(), torch.linspace(0.5, 3, D).double()
    return mean.to(DEVICE), std.to(DEVICE)


@with_triton
@every_dtype
@every_shape
def test_log_standardize_and_its_gradient(backend, dtype, shape, dim):
    mean, std = statistics(shape[dim])
    x = draw(shape, dtype).mul(0.3).clamp_min(-0.01).requires_grad_()
    g = draw(shape, dtype, 1)
    z = hud.log_standardize(x, mean, std, dim, backend=backend)
    assert hud.last_backend() == backend
    logs = oracles.log_project(wide(x), dim)
    truth = oracles.standardized(logs, wide(mean), wide(std), dim).astype(float)
    rounding, eps = own(dtype)
    assert (np.abs(wide(z) - truth) <= 64 * eps + rounding * np.abs(truth)).all()
    (gx,) = torch.autograd.grad(z, x, g)
    scaled = oracles.standardized(wide(g), 0 * wide(mean), wide(std), dim).astype(float)
    slope = np.where(wide(x) < 0, 0, scaled / (wide(x) + np.exp(-8.0) / shape[dim]))
    near = (6 * eps + rounding) * np.abs(slope) + torch.finfo(x.dtype).smallest_normal
    finite = np.abs(slope) < (6e4 if dtype == "float16" else np.inf)
    assert (np.abs(wide(gx) - slope) <= near)[finite].all()


@with_triton
@every_dtype
@every_shape
def test_standardized_softmax_and_its_gradient(backend, dtype, shape, dim):
    mean, std = statistics(shape[dim])
    z = draw(shape, dtype).requires_grad_()
    g = draw(shape, dtype, 1)
    x = hud.standardized_softmax(z, mean, std, dim, backend=backend)
    assert hud.last_backend() == backend
    raw = oracles.standardized(wide(z), wide(mean), wide(std), dim, undo=True)
    truth = oracles.softmax(raw, dim).astype(float)
    rounding, eps = own(dtype)
    least = 1e-7 * (rounding > 0) + 1e-37
    assert (
        np.abs(wide(x) - truth) <= ((40 + shape[dim] / 8) * eps + rounding) * truth + least
    ).all()
    (gz,) = torch.autograd.grad(x, z, g)
    kept, slope = wide(x), wide(g)
    slope = kept * (slope - (slope * kept).sum(dim, keepdims=True))
    slope = oracles.standardized(slope, 0 * wide(mean), wide(std), dim, undo=True).astype(float)
    near = 2 * rounding * np.abs(slope) + 256 * eps * kept + least
    assert (np.abs(wide(gz) - slope) <= near).all()


@with_triton
@every_dtype
@pytest.mark.parametrize(
    ("B", "D", "H", "W", "C"),
    [(2, 3, 5, 7, 1), (1, 16, 4, 8, 64), (2, 9, 3, 11, 65), (1, 17, 1, 31, 63), (1, 40, 3, 11, 20)],
)
def test_softmax_decode(backend, dtype, B, D, H, W, C):
    mean, std = statistics(D)
    A = draw((D, C), "float64").abs()
    z = draw((B, D, H, W), dtype)
    rounding, eps = own(dtype)
    for given in ({}, {"mean": mean, "std": std}):
        cube = hud.softmax_decode(z, A, **given, backend=backend)
        assert hud.last_backend() == backend
        assert cube.shape == (B, H, W, C)
        raw = oracles.standardized(wide(z), wide(mean), wide(std), 1, undo=True)
        x = oracles.softmax(raw if given else wide(z), 1)
        truth = (np.moveaxis(x, 1, -1) @ wide(A).astype(np.longdouble)).astype(float)
        bound = ((40 + D / 4) * eps + rounding) * truth
        assert (np.abs(wide(cube) - truth) <= bound).all()


@with_triton
@every_dtype
@pytest.mark.parametrize("count", [1, 63, 65, 1024, 4097])
def test_noise_steps_and_forward_process(backend, dtype, count):
    """What is drawn is the address's, in each of the three operations; what is mixed is the formula."""
    address = {"seed": 2**62 + 12345, "step": 2**32 - 1, "first": 2**33 - 1}
    drawn = np.stack(
        [
            oracles.normal_noise(count, address["seed"], address["step"], address["first"] + b)
            for b in range(2)
        ]
    )
    rounding, eps = own(dtype)
    exact = {"rtol": rounding, "atol": 6e-6}
    options = {"dtype": getattr(torch, dtype), "device": DEVICE, "backend": backend}
    noise = hud.normal_noise((2, count), **address, **options)
    assert hud.last_backend() == backend
    np.testing.assert_allclose(wide(noise), drawn, **exact)

    z, eps_map = draw((2, count), dtype), draw((2, count), dtype, 1)
    signal = torch.tensor([0.3, 1.0], dtype=torch.float64, device=DEVICE)
    noisy, returned = hud.q_sample(z, signal, **address, backend=backend)
    assert torch.equal(returned, noise)
    level = wide(signal)[:, None]
    truth = np.sqrt(level) * wide(z) + np.sqrt(1 - level) * drawn
    np.testing.assert_allclose(wide(noisy), truth, rtol=rounding, atol=2e-5)

    factors = {"z_factor": 1.1, "eps_factor": -0.2, "noise_factor": 0.3, "backend": backend}
    plain = 1.1 * wide(z) - 0.2 * wide(eps_map)
    for result, truth in (
        (hud.sampler_step(z, eps_map, **address, **factors), plain + 0.3 * drawn),
        (hud.sampler_step(z, eps_map, noise=noise, **factors), plain + 0.3 * wide(noise)),
        (hud.sampler_step(z, eps_map, **factors | {"noise_factor": 0.0}), plain),
    ):
        np.testing.assert_allclose(
            wide(result), truth, rtol=rounding, atol=2e-5 if eps > 1e-9 else 2e-6
        )


@with_triton
def test_steps_read_on_the_device(backend):
    """The factors and the step's number from the device give what numbers give, another dtype of eps and in place."""
    z, eps = draw((3, 2, 9, 11), "float32"), draw((3, 2, 9, 11), "float32", 1)
    table = torch.tensor([[1.1, -0.2, 0.3], [0.9, 0.1, 0.0]], dtype=torch.float64, device=DEVICE)
    for k in (0, 1):
        a, b, c = table[k].tolist()
        row = torch.tensor([k], device=DEVICE)
        address = {"seed": 9, "first": 4}
        named = {"z_factor": a, "eps_factor": b, "noise_factor": c}
        expected = hud.sampler_step(z, eps, **named, step=7 + k, **address, backend=backend)
        found = sampler_step_at(z, eps, table, row, step=7, **address, backend=backend)
        assert hud.last_backend() == backend
        assert torch.equal(found, expected)
        narrow = sampler_step_at(z, eps.bfloat16(), table, row, step=7, **address, backend=backend)
        torch.testing.assert_close(narrow, expected, rtol=0, atol=2e-2)
        target = z.clone()
        sampler_step_at(target, eps, table, row, step=7, **address, out=target, backend=backend)
        assert torch.equal(target, expected)

    # a sampler that looks back: what it keeps, and what it kept
    long = torch.cat([table.float(), table.float().flip(1)], 1)
    past, row = draw(z.shape, "float32", 2), torch.tensor(0, device=DEVICE)
    kept = past.clone()
    found = sampler_step_at(
        z, eps, long, row, seed=9, step=row + 7, first=row + 4, past=kept, backend=backend
    )
    drawn = hud.normal_noise(z.shape, seed=9, step=7, first=4, device=DEVICE, backend=backend)
    expected = 1.1 * z - 0.2 * eps + 0.3 * drawn + 0.3 * past
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(kept, -0.2 * z + 1.1 * eps, rtol=0, atol=2e-6)

    at = torch.tensor([5], device=DEVICE)
    signal = torch.full((3,), 0.5, dtype=torch.float64, device=DEVICE)
    for op in (
        lambda step: hud.q_sample(z, signal, seed=1, step=step, backend=backend)[0],
        lambda step: hud.normal_noise((3, 70), seed=1, step=step, device=DEVICE, backend=backend),
        lambda step: hud.sampler_step(
            z, eps, z_factor=1, eps_factor=0, noise_factor=1, seed=1, step=step, backend=backend
        ),
    ):
        assert torch.equal(op(at), op(5))
        assert not torch.equal(op(at), op(6))


@with_triton
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_is_compiled_to_the_same_bits_in_every_form(backend, dtype):
    """Factors as numbers, in a row of one and in a number on the device: each is a compiled kernel of its own, which
    must fuse the same products."""
    shape = (2, 16, 32, 32) if ON_GPU else (2, 3, 9, 11)
    z, eps = draw(shape, dtype), draw(shape, dtype, 1)
    table = torch.tensor([[1.1, -0.2, 0.3], [0.9, 0.1, 0.0]], dtype=torch.float64, device=DEVICE)
    for k in (0, 1):
        named = dict(
            zip(("z_factor", "eps_factor", "noise_factor"), table[k].tolist(), strict=True)
        )
        known = hud.sampler_step(z, eps, **named, seed=9, step=7 + k, first=4, backend=backend)
        at = torch.tensor([7 + k], device=DEVICE)
        found = [hud.sampler_step(z, eps, **named, seed=9, step=at, first=4, backend=backend)]
        for row in (torch.tensor([k], device=DEVICE), torch.tensor(k, device=DEVICE)):
            for step in (7, torch.tensor(7, device=DEVICE)):
                address = {"seed": 9, "step": step, "first": 4}
                found.append(sampler_step_at(z, eps, table, row, **address, backend=backend))
        assert all(torch.equal(form, known) for form in found)


@gpu_only
@with_triton
@every_dtype
@pytest.mark.parametrize("D", [9, 16, 17, 40])
def test_products_of_a_real_size_are_as_exact_as_their_dtype(backend, dtype, D):
    """float64 through the tensor cores, 16-bit types through three products of TF32: many tiles, long rows."""
    mean, std = statistics(D)
    A, z = draw((D, 200), "float64").abs(), draw((3, D, 32, 32), dtype)
    cube = hud.softmax_decode(z, A, mean=mean, std=std, backend=backend)
    raw = oracles.standardized(wide(z), wide(mean), wide(std), 1, undo=True)
    truth = (np.moveaxis(oracles.softmax(raw, 1), 1, -1) @ wide(A).astype(np.longdouble)).astype(
        float
    )
    rounding, eps = own(dtype)
    assert (np.abs(wide(cube) - truth) <= ((40 + D / 4) * eps + rounding) * truth).all()


@gpu_only
@with_triton
def test_a_replayed_graph_reads_the_step_it_finds(backend):
    shape, steps = (4, 16, 32, 32), 5
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(steps, 3, dtype=torch.float64, generator=generator).cuda()
    eps = torch.randn(shape, generator=generator).cuda()
    z, row = torch.zeros(shape, device="cuda"), torch.zeros(1, dtype=torch.int64, device="cuda")

    def one_step():
        sampler_step_at(z, eps, table, row, seed=3, step=1, out=z, backend=backend)
        row.add_(1)

    graph = captured(one_step)
    start = torch.randn(shape, generator=generator).cuda()
    z.copy_(start)
    row.zero_()
    expected = start.clone()
    for k in range(steps):
        graph.replay()
        a, b, c = table[k].tolist()
        expected = hud.sampler_step(
            expected,
            eps,
            z_factor=a,
            eps_factor=b,
            noise_factor=c,
            seed=3,
            step=1 + k,
            backend=backend,
        )
    assert torch.equal(z, expected)


@gpu_only
@with_triton
def test_every_pass_is_captured(backend):
    """No pass waits for the device or allocates beyond its result; the caller's stream is taken."""
    mean, std = statistics(16)
    A = torch.rand(16, 103, device="cuda")
    x = torch.rand(2, 16, 32, 32, device="cuda")
    signal, at = torch.full((2,), 0.5, dtype=torch.float64, device="cuda"), torch.tensor([3]).cuda()
    results = []

    def passes():
        z = hud.log_standardize(x, mean, std, 1, backend=backend)
        noisy, eps = hud.q_sample(z, signal, seed=1, step=at, backend=backend)
        results[:] = [
            noisy,
            eps,
            hud.standardized_softmax(noisy, mean, std, 1, backend=backend),
            hud.softmax_decode(noisy, A, mean=mean, std=std, backend=backend),
            hud.normal_noise((2, 100), seed=1, step=at, device="cuda", backend=backend),
        ]

    graph = captured(passes)
    kept = list(results)
    x.copy_(torch.rand_like(x))
    at.fill_(8)
    graph.replay()
    found = [t.clone() for t in kept]
    passes()
    for a, b in zip(found, results, strict=True):
        assert torch.equal(a, b)


@gpu_only
@with_triton
def test_more_values_than_32_bits_count(backend, most_memory):
    count = 2**30 + 3
    free, _ = torch.cuda.mem_get_info()
    if free < 10 * count * 2:
        pytest.skip(f"needs {10 * count * 2 >> 30} GiB of GPU memory")
    z = torch.zeros(2, count, dtype=torch.bfloat16, device="cuda")
    signal = torch.tensor([0.5, 0.0], dtype=torch.float64, device="cuda")
    noisy, noise = hud.q_sample(z, signal, seed=1, step=2, backend=backend)
    assert torch.equal(noisy[1, -100:], noise[1, -100:])
    # numbers in the 64-bit places: the last groups of the second sample, alone
    tail = oracles_tail(count, 100)
    np.testing.assert_allclose(wide(noise[1, -100:]), tail, rtol=2**-8, atol=1e-5)


def oracles_tail(count: int, wanted: int) -> np.ndarray:
    """The last numbers of sample 1, from the plain reference's formula for their blocks alone."""
    from hud_fast.kernels.noise.normal_noise import BLOCKS, GROUP, philox_reference

    first = (count - wanted) // GROUP
    blocks = torch.arange(first * BLOCKS, (first + 3) * BLOCKS)
    zero = torch.zeros_like(blocks)
    numbers = philox_reference([blocks, zero + 2, zero + 1, zero], (1, 0))
    normals = []
    for a, b in (numbers[:2], numbers[2:]):
        radius = torch.sqrt(-2 * torch.log((a.double() + 0.5) * 2**-32))
        rest = (((b << 2) + 2**31) % 2**32 - 2**31).double()
        angle = (b >> 30).double() * (np.pi / 2) + rest * (np.pi / 4 * 2**-31)
        normals += [radius * torch.cos(angle), radius * torch.sin(angle)]
    ordered = torch.stack(normals).view(4, 3, BLOCKS).transpose(0, 1).reshape(-1)
    begin = count - wanted - first * GROUP
    return ordered[begin : begin + wanted].numpy()


def test_the_tail_of_the_noise_as_this_test_makes_it():
    whole = oracles.normal_noise(1000, 1, 2, 1)
    np.testing.assert_allclose(oracles_tail(1000, 100), whole[-100:], rtol=1e-12)
