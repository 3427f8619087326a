"""FCLS for groups of threads: emulated here, the kernels where there is a GPU.

The same demands as on the CPU's kernels: the certificate on everything, abundances as in extended precision, odd
endmembers and pixels, the same bits for any order, split or chunk; and the plan that says how a device cuts it up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import torch
from fcls_inputs import GAP, certify, mixtures, smooth_endmembers

import hud_fast as hud
from hud_fast.kernels import FCLSResult, can_run
from hud_fast.kernels._native import C as native
from hud_fast.kernels.fcls import device as fcls_device

NEEDS_GPU = pytest.mark.skipif(
    not can_run("cuda", device="cuda"), reason="no GPU here, or a build without CUDA kernels"
)
every_runner = pytest.mark.parametrize("run", ["emulated", pytest.param("cuda", marks=NEEDS_GPU)])
OPTIONS: list[dict[str, bool]] = [{}, {"sum_to_one": False}, {"shade": True}]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)
# Around every group of 8, 16, 32 and 64 endmembers, and beyond.
COUNTS = (*range(1, 34), 48, 63, 64, 65, 70)
X_ERROR, X_ERROR_ILL = 1e-9, 2e-8  # as on the CPU


def solve(
    run: str, pixels: Any, endmembers: Any, *, chunk: int = 0, status: bool = True, **options: bool
) -> tuple[FCLSResult, tuple[int, int]]:
    """Results as NumPy arrays, and how many pixels rounds and the active set solved (the emulation tells)."""
    device = torch.device("cuda" if run == "cuda" else "cpu")
    y = torch.as_tensor(pixels).to(device)
    tables = fcls_device.prepare(
        torch.as_tensor(endmembers),
        options.get("sum_to_one", True),
        options.get("shade", False),
        device,
    )
    to = fcls_device.results(y, tables, status)
    for field in to:
        if field is not None:  # what a kernel leaves out must show
            field.fill_(torch.nan if field.is_floating_point() else 77)
    ways = fcls_device.solve(y, tables, to, chunk=chunk)
    found = [None if field is None else field.cpu().numpy() for field in to]
    return FCLSResult(*found), ways


def same(a: Any, b: Any, rows: Any = slice(None)) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other[rows])


@every_runner
@pytest.mark.parametrize("D", COUNTS)
def test_every_endmember_count(run, D):
    A = smooth_endmembers(D, 91)
    y = mixtures(A, 45, 0.02)
    result, ways = solve(run, y, A, chunk=20)
    certify(y, A, result.abundances)
    assert result.gap.max() <= GAP
    assert (result.status == 0).all()
    if run == "emulated":
        assert sum(ways) == 45
        assert ways[1] == 45 if D > 64 else ways[1] <= 4
    cpu = hud.fcls(y, A, return_status=True)
    np.testing.assert_allclose(result.abundances, cpu.abundances, rtol=0, atol=X_ERROR)
    np.testing.assert_allclose(result.residual, cpu.residual, rtol=1e-12, atol=1e-15)


@every_runner
@every_option
@pytest.mark.parametrize("P", [0, 1, 7, 8, 9, 15, 16, 17, 33])
def test_every_pixel_count(run, options, P):
    A = smooth_endmembers(7, 30)
    y = mixtures(A, P, 0.05)
    result, _ = solve(run, y, A, chunk=16, **options)
    cpu = hud.fcls(y, A, return_status=True, **options)
    np.testing.assert_allclose(result.abundances, cpu.abundances, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.status, cpu.status)


@every_runner
@pytest.mark.parametrize("D", [3, 9, 16, 17, 32])
@pytest.mark.parametrize("near", [None, 1e-2, 1e-4, 1e-5])
def test_agrees_with_an_active_set_in_extended_precision(run, D, near):
    A = smooth_endmembers(D, 90)
    if near is not None:
        half = D // 2
        A[-half:] = A[:half] * (1 + near * np.random.default_rng(1).normal(size=(half, 90)))
    y = mixtures(A, 6, 0.02)
    result, _ = solve(run, y, A)
    expected = np.stack([oracles.fcls_extended(pixel, A) for pixel in y])
    error = np.abs(result.abundances - expected).max()
    assert error <= (X_ERROR if near is None or near > 1e-3 else X_ERROR_ILL), error


@every_runner
@pytest.mark.parametrize("near", [1e-2, 1e-4, 1e-9, 0.0])
@pytest.mark.parametrize("D", [5, 16, 24, 40])
def test_near_duplicate_endmembers(run, near, D):
    A = smooth_endmembers(D, 100)
    half = D // 2
    A[-half:] = A[:half] * (1 + near * np.random.default_rng(1).normal(size=(half, 100)))
    y = mixtures(A, 60, 0.02)
    result, _ = solve(run, y, A)
    certify(y, A, result.abundances)
    assert (result.status == 0).all()


ODD = {
    "affinely dependent": lambda A: np.concatenate([A, A[:3].mean(0, keepdims=True)]),
    "collinear a, 2a, 3a": lambda A: np.concatenate([A[:1], 2 * A[:1], 3 * A[:1], A[1:]]),
    "a zero endmember": lambda A: np.concatenate([A, 0 * A[:1]]),
    "all identical": lambda A: np.repeat(A[:1], 5, axis=0),
    "all zero": lambda A: 0 * A,
    "four bands, eight endmembers": lambda A: np.random.default_rng(len(A)).random((8, 4)),
    "one band": lambda A: A[:, :1],
    "condition 1e6": lambda A: np.concatenate([A, A * (1 + 1e-6 * np.sin(np.arange(A.size)).reshape(A.shape))]),
}  # fmt: skip


@every_runner
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("sum_to_one", [True, False])
def test_odd_endmembers(run, odd, sum_to_one):
    A = ODD[odd](smooth_endmembers(6, 60))
    rng = np.random.default_rng(0)
    y = np.concatenate(
        [
            mixtures(A, 20, 0.02),
            mixtures(A, 20, 0.0),  # noise-free
            A,  # vertices
            (A[:1] + A[-1:]) / 2,  # an edge's midpoint
            np.zeros((1, A.shape[1])),
            100 * rng.normal(size=(20, A.shape[1])),  # far outside
        ]
    )
    result, _ = solve(run, y, A, sum_to_one=sum_to_one)
    assert (result.status == 0).all()
    assert result.gap.max() <= GAP
    if sum_to_one:
        certify(y, A, result.abundances)
    else:
        assert (result.abundances >= 0).all()
        cpu = hud.fcls(y, A, sum_to_one=False, return_status=True)
        np.testing.assert_allclose(result.residual, cpu.residual, rtol=1e-9, atol=1e-6)


@every_runner
@pytest.mark.parametrize("D", [5, 20])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_bad_pixel_stays_in_its_row(run, D, bad):
    """Not finite, or a square that overflows, among others of its warp."""
    A = smooth_endmembers(D, 40)
    y = mixtures(A, 40, 0.02)
    clean, _ = solve(run, y, A)
    rows = [0, 5, 16, 39]
    y[rows, 13] = bad
    result, _ = solve(run, y, A)
    assert np.isnan(result.abundances[rows]).all()
    assert (result.status[rows] == 2).all()
    assert np.isnan(result.gap[rows]).all()
    assert np.isnan(result.residual[rows]).all()
    rest = np.setdiff1d(np.arange(40), rows)
    same((field[rest] for field in result), clean, rest)


@every_runner
@pytest.mark.parametrize("D", [8, 20, 33])
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_pixels_of_every_brightness(run, D, options):
    A = smooth_endmembers(D, 60)
    y = mixtures(A, 30, 0.02)
    plain, _ = solve(run, y, A, **options)
    odd = {3: 1e30, 4: 1e37, 5: -1e38, 6: 3.4e38, 7: -3.4e38, 20: 1e60, 21: -1e140, 29: 1e-300}
    for row, factor in odd.items():
        y[row] *= factor
    result, _ = solve(run, y, A, **options)
    rest = np.setdiff1d(np.arange(30), list(odd))
    same((field[rest] for field in result), plain, rest)
    assert (result.status == 0).all()
    assert (result.abundances >= 0).all()
    if not options:
        np.testing.assert_allclose(result.abundances.sum(1), 1, rtol=0, atol=D * 2.3e-16)


@every_runner
@every_option
@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e160, 1e300])
def test_no_scale_of_float64_is_too_small_or_too_large(run, options, scale):
    A = smooth_endmembers(5, 40)
    y = mixtures(A, 20, 0.02)
    plain, _ = solve(run, y, A, **options)
    far, _ = solve(run, y * scale, A * scale, **options)
    np.testing.assert_allclose(far.abundances, plain.abundances, rtol=0, atol=1e-10)
    np.testing.assert_allclose(far.residual / scale, plain.residual, rtol=1e-9)
    assert (far.status == 0).all()


@every_runner
def test_status_zero_means_optimal_where_nnls_abundances_explode(run):
    rng = np.random.default_rng(3)
    certified = 0
    for _ in range(20):
        C = int(rng.choice([2, 5, 8, 30]))
        decay = 10.0 ** -np.linspace(0, rng.uniform(2, 14), min(16, C))
        A = rng.normal(size=(16, len(decay))) @ (decay[:, None] * rng.normal(size=(len(decay), C)))
        y = 10.0 ** rng.integers(0, 8) * rng.normal(size=(10, C))
        result, _ = solve(run, y, A, sum_to_one=False)
        wide, x = A.astype(np.longdouble), result.abundances.astype(np.longdouble)
        c = (y - x @ wide) @ wide.T
        scale = (np.linalg.norm(y, axis=1) + np.linalg.norm(A, axis=1).max()) ** 2
        gap = np.maximum(c.max(1), np.abs((x * c).sum(1))) / scale
        assert (result.abundances >= 0).all()
        assert gap[result.status == 0].max(initial=0) <= 1.5e-12
        certified += int((result.status == 0).sum())
    assert certified > 50


@every_runner
@every_option
@pytest.mark.parametrize("D", [12, 24, 64, 70])
@pytest.mark.parametrize("near", [False, True], ids=["distinct", "near-duplicates"])
def test_the_same_bits_for_any_order_split_and_chunk(run, D, options, near):
    """An odd number of bands, so that rows begin anywhere; float32 and float64."""
    C, P = 91, 60 if D <= 24 else 24
    A = smooth_endmembers(D, C)
    if near:
        A[D // 2 : 2 * (D // 2)] = A[: D // 2] * (
            1 + 1e-3 * np.random.default_rng(1).normal(size=C)
        )
    order = np.random.default_rng(0).permutation(P)
    for dtype in (np.float64, np.float32):
        y = mixtures(A, P, 0.02).astype(dtype)
        whole, _ = solve(run, y, A, **options)
        shuffled, _ = solve(run, y[order], A, chunk=17, **options)
        same(shuffled, whole, order)
        for part in (slice(0, 1), slice(1, 14), slice(14, P)):
            some, _ = solve(run, y[part], A, **options)
            same(some, whole, part)


@every_runner
@pytest.mark.parametrize("C", [80, 91])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_for_any_layout(run, C, dtype):
    """Whole pieces of 16 bytes, single values, band-major, every second band, rows of a wider array."""
    A = smooth_endmembers(10, C)
    y = torch.from_numpy(mixtures(A, 30, 0.02)).to(dtype)
    padded = torch.full((30, C + 3), 7.0, dtype=dtype)
    padded[:, :C] = y
    aligned = torch.full((30, (C + 15) // 16 * 16), 7.0, dtype=dtype)
    aligned[:, :C] = y
    shifted = torch.empty(30 * C + 1, dtype=dtype)[1:].view(30, C)
    shifted.copy_(y)
    plain, _ = solve(run, y, A)
    for other in (
        y.T.contiguous().T,
        y.repeat_interleave(2, 1)[:, ::2],
        padded[:, :C],
        aligned[:, :C],
        shifted,
    ):
        result, _ = solve(run, other, A)
        same(result, plain)


@every_runner
def test_float32_pixels_are_computed_in_float64(run):
    A = smooth_endmembers(16, 120).astype(np.float32)
    y = mixtures(A.astype(np.float64), 60, 0.02).astype(np.float32)
    narrow, _ = solve(run, y, A)
    wide, _ = solve(run, y.astype(np.float64), A)
    assert narrow.abundances.dtype == np.float32
    np.testing.assert_allclose(narrow.abundances, wide.abundances, rtol=0, atol=6e-8)


@every_runner
@pytest.mark.parametrize("D", [3, 5, 8, 11, 16])
def test_a_thread_or_a_group_a_pixel(run, D):
    """Endmembers nearly alike make corrections by float32 factors settle slowly: a group's float64 takes them."""
    A = smooth_endmembers(D, 70)
    y = mixtures(A, 60, 0.02)
    plain, ways = solve(run, y, A)
    certify(y, A, plain.abundances)
    near = A.copy()
    near[-1] = A[0] * (1 + 1e-5 * np.random.default_rng(2).normal(size=70))
    lanes = [
        fcls_device.plan(
            torch.from_numpy(y),
            fcls_device.prepare(torch.from_numpy(E), True, False, torch.device("cpu")),
        )["lanes"]
        for E in (A, near)
    ]
    assert lanes == [1, 8 if D <= 8 else 16]
    ill, _ = solve(run, y, near)
    certify(y, near, ill.abundances)
    assert (ill.status == 0).all()
    if run == "emulated":
        assert ways[1] <= 2


@every_runner
def test_abundances_alone(run):
    A = smooth_endmembers(9, 50)
    y = mixtures(A, 20, 0.02)
    bare, _ = solve(run, y, A, status=False)
    full, _ = solve(run, y, A)
    np.testing.assert_array_equal(bare.abundances, full.abundances)
    assert bare.status is None


@every_runner
@pytest.mark.parametrize("D", [40, 64])
def test_supports_larger_than_a_group_are_left_to_the_active_set(run, D):
    """Even mixtures of all endmembers, without noise: every one of them is in the support."""
    A = np.random.default_rng(0).normal(size=(D, 150))
    y = np.random.default_rng(1).dirichlet(np.full(D, 50.0), 12) @ A
    result, ways = solve(run, y, A)
    certify(y, A, result.abundances)
    assert (result.status == 0).all()
    assert ((result.abundances > 0).sum(1) > 32).all()
    if run == "emulated":
        assert ways == (0, 12)


@every_runner
@pytest.mark.parametrize("bands", [1, 15, 16, 17, 700])
@pytest.mark.parametrize("D", [2, 40])
def test_bands_around_the_tiles(run, bands, D):
    """700 bands of 40 endmembers do not fit shared memory at once."""
    A = smooth_endmembers(D, bands)
    y = mixtures(A, 20, 0.02)
    result, _ = solve(run, y, A)
    certify(y, A, result.abundances)
    assert (result.status == 0).all()


@every_runner
@pytest.mark.parametrize("D", [5, 16])
def test_real_scene(run, D, indian_pines):
    pixels = indian_pines.reshape(-1, 200)[::20]
    rng = np.random.default_rng(0)
    A = pixels[rng.choice(len(pixels), D, replace=False)].astype(np.float64)
    result, ways = solve(run, pixels, A)
    assert (result.status == 0).all()
    assert result.gap.max() <= GAP
    certify(pixels, A, result.abundances)
    if run == "emulated":
        assert ways[1] <= len(pixels) // 100


def plan_for(P: int, C: int, D: int, units: int = 132, dtype: Any = np.float32) -> dict[str, int]:
    y = torch.zeros(1, C).expand(P, C)
    tables = fcls_device.prepare(
        torch.from_numpy(smooth_endmembers(D, C)), True, False, torch.device("cpu")
    )
    return fcls_device.plan(y, tables._replace(units=units))


@pytest.mark.parametrize("D", COUNTS)
def test_the_plan_fits_the_chip(D):
    p = plan_for(10_000_000, 224, D)
    assert p["lanes"] == (1 if D <= 16 else 32 if D <= 64 else 0)
    assert p["unrolled"] == (-(-D // 4) * 4 if D <= 16 else 0)
    assert p["bytes"] < 600 << 20
    assert p["alone"] + p["alone_blocks"] * 4 * p["alone_values"] * 8 <= p["bytes"]
    if D > 64:
        return
    assert 8 * p["tiles"] >= D - 1
    assert p["project_bytes"] <= 227 << 10
    assert p["bands"] % 16 == 0
    assert p["table_bytes"] + (12 << 10) <= 227 << 10
    assert p["alone"] >= p["list"] + 8 * 10_000_000
    assert p["project_blocks"] * 128 <= p["chunk"] + 127


def test_the_plan_of_many_endmembers_keeps_its_scratch():
    assert plan_for(1_000_000, 2000, 1000)["bytes"] < 1 << 30
    assert plan_for(1, 4, 2)["bytes"] < 1 << 20


def test_a_job_with_a_missing_entry_is_an_error():
    with pytest.raises(KeyError):
        native.fcls_plan({}, 1, 1, 0)


def test_pixels_on_the_cpu_are_not_for_the_gpu():
    with pytest.raises(RuntimeError, match=r"fcls: backend 'cuda' cannot run: .*CUDA kernels"):
        hud.fcls(np.ones((2, 3)), np.ones((2, 3)), backend="cuda")


def test_a_job_is_checked_entry_by_entry():
    y = torch.rand(5, 9)
    tables = fcls_device.prepare(y[:3], True, False, y.device)
    job = fcls_device._job(y, tables, fcls_device.results(y, tables, True))
    job["scratch"] = torch.empty(1 << 20, dtype=torch.uint8)
    native.emulated_fcls(job, 1, 0)
    for entry, wrong, words in (
        ("pixels", y.int(), "must be float32 or float64"),
        ("pixels", y[:, :8], r"must be \(P, C\)"),
        ("pixels", y.to("meta"), "must be a tensor with memory"),
        ("abundances", y.double(), "must be float32"),
        ("basis", job["basis"].float(), "must be float64"),
        ("gram", job["gram"][:-1], "must have 48 values or more, got 47"),
        ("gap", torch.empty(10, dtype=torch.float64)[::2], "must be contiguous"),
        ("status", torch.empty(4, dtype=torch.int8), "must have 5 values or more, got 4"),
        ("scratch", job["scratch"][:10], "must have .* got 10"),
    ):
        with pytest.raises(ValueError, match=f"the job's '{entry}' {words}"):
            native.emulated_fcls({**job, entry: wrong}, 1, 0)
    with pytest.raises(KeyError, match="the job lacks 'gram32'"):
        native.emulated_fcls({k: v for k, v in job.items() if k != "gram32"}, 1, 0)
    if hasattr(native, "cuda_fcls"):
        with pytest.raises(ValueError, match="the job's 'centre' lies on another device"):
            native.cuda_fcls(job, 1, 0, 0, 0)


@NEEDS_GPU
@every_option
def test_public_function_on_a_gpu(options):
    A = smooth_endmembers(9, 50)
    y = mixtures(A, 500, 0.02)
    cpu = hud.fcls(y, A, return_status=True, **options)
    gpu = hud.fcls(
        torch.from_numpy(y).cuda(),
        torch.from_numpy(A).cuda(),
        return_status=True,
        backend="cuda",
        **options,
    )
    assert hud.last_backend() == "cuda"
    for found, expected in zip(gpu, cpu, strict=True):
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=0, atol=1e-9)


@NEEDS_GPU
def test_compiled_and_differentiated_on_a_gpu():
    A = torch.from_numpy(smooth_endmembers(4, 8)).cuda().requires_grad_()
    y = torch.from_numpy(0.9 * mixtures(A.detach().cpu().numpy(), 6, 0.05)).cuda().requires_grad_()
    compiled = torch.compile(
        lambda p: hud.fcls(p, A, backend="cuda") * 2, fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(y), hud.fcls(y, A, backend="cuda") * 2)
    torch.autograd.gradcheck(
        lambda p, e: hud.fcls(p, e, backend="cuda"), (y, A), eps=1e-7, atol=1e-5
    )


@NEEDS_GPU
def test_a_graph_captures_and_replays_on_another_stream():
    A = smooth_endmembers(16, 100)
    pixels = torch.from_numpy(mixtures(A, 3000, 0.02)).cuda()
    tables = fcls_device.prepare(torch.from_numpy(A), True, False, pixels.device)
    to = fcls_device.results(pixels, tables, True)
    fcls_device.solve(pixels, tables, to, chunk=1024)
    expected = [field.clone() for field in to]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        fcls_device.solve(pixels, tables, to, chunk=1024)
    for field in to:
        field.zero_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())  # the zeros first
    with torch.cuda.stream(stream):
        graph.replay()
    torch.cuda.synchronize()
    for field, wanted in zip(to, expected, strict=True):
        assert torch.equal(field, wanted)
