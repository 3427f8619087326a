"""The device's block search around its kernels: plans, public face, streams, graphs, mirrored butterflies, errors."""

from __future__ import annotations

import importlib

import numpy as np
import oracles
import pytest
import torch
from device_windows import ATOL, NEEDS_GPU, every_way, ready
from torch.utils._python_dispatch import TorchDispatchMode

import hud_fast as hud
from hud_fast.kernels._native import C
from hud_fast.kernels.windows import similarities
from hud_fast.kernels.windows.device_scales import device_factor, power_of_two
from hud_fast.kernels.windows.pixels import similarities_on_device


@pytest.mark.parametrize("shared", [166912, 232448])
def test_plans_fit_the_device_and_cover_the_scene(shared):
    for H, W, K, h, w, stride in [
        (1093, 715, 10, 32, 32, 1), (145, 145, 200, 32, 32, 1), (610, 340, 9, 8, 64, 3), (40, 900, 3, 40, 7, 1),
        (7, 7, 2, 7, 7, 1),
    ]:  # fmt: skip
        plan = C.window_tile_plan(H, W, K, h, w, stride, shared, "fft", 0, 0)
        assert plan["shared"] <= shared
        for size, block, side, steps, tiles in (
            (H, h, plan["down"], plan["steps_down"], plan["tiles_down"]),
            (W, w, plan["across"], plan["steps_across"], plan["tiles_across"]),
        ):
            positions = (size - block) // stride + 1
            assert (steps - 1) * stride + block <= side
            assert steps * (tiles - 1) < positions <= steps * tiles


def test_the_cheaper_way_is_taken():
    def way(*shape):
        return C.window_tile_plan(*shape, 232448, "", 0, 0)["path"]

    assert way(1093, 715, 9, 32, 32, 1) == "fft"
    assert way(1093, 715, 9, 32, 32, 64) == "direct"
    assert way(300, 300, 9, 290, 290, 1) == "direct"  # no tile of that size fits
    with pytest.raises(ValueError, match="no tile of this size"):
        C.window_tile_plan(300, 300, 9, 290, 290, 1, 232448, "fft", 0, 0)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_powers_of_two_are_exact_on_every_device(device):
    exponents = torch.arange(-1022, 1024, dtype=torch.int32)
    found = power_of_two(exponents.to(device))
    assert found.dtype == torch.float64
    assert found.tolist() == [2.0**e for e in exponents.tolist()]
    assert power_of_two(torch.tensor(-3, device=device)).item() == 0.125


class NoPowers(TorchDispatchMode):
    """Refuses what is not exact on CUDA: on a CPU it is, and no number would tell."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in ("pow", "exp2", "ldexp")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize("exponent", [-1074, -1022, -999, -150, -1, 0, 3, 1000, 1023])
def test_pixels_that_keep_their_lengths_are_scaled_by_a_power_of_two(device, exponent):
    """No digit of theirs is lost, so that the bits are the same however the blocks are split."""
    pixels = torch.tensor([[0.25, -0.75, 0.5, 0.0]], dtype=torch.float64) * 2.0**exponent
    with NoPowers():
        factor = device_factor(pixels.to(device), "block", True)
    factor = factor.cpu()
    mantissa, shift = np.frexp(factor.item())
    assert mantissa == 0.5
    assert shift <= 1001
    if abs(exponent) < 999:
        assert 0.25 <= float((pixels * factor).abs().max()) <= 1


@pytest.mark.parametrize("mixed", [False, True])
def test_block_diversity_on_the_device(monkeypatch, mixed):
    """The metric's own way through it: a basis, lengths, a mask, values from the raw bands."""
    module = importlib.import_module("hud_fast.kernels.windows.door")
    scene = hud.simulate_scene(40, 44, C=24, D=4, seed=0)
    mask = np.ones((40, 44), bool)
    mask[3, 4] = False
    rng = np.random.default_rng(0)
    abundances = rng.dirichlet(np.ones(4), (3, 10, 12))
    endmembers = scene.cube[[0, 13, 26, 39], [0, 40, 7, 21]].astype(np.float64)
    given = hud.Mixtures(abundances, endmembers) if mixed else abundances @ endmembers
    known = hud.block_diversity(given, scene.cube, mask=mask, return_details=True)
    monkeypatch.setattr(module, "_fastest", lambda _: "emulated")
    found = hud.block_diversity(given, scene.cube, mask=mask, return_details=True)
    assert hud.last_backend() == "emulated"
    np.testing.assert_allclose(found.similarity, known.similarity, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.position, known.position)


@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_similarities_on_the_device(norm):
    rng = np.random.default_rng(0)
    scene = torch.from_numpy(rng.random((12, 13, 5)))
    blocks = torch.from_numpy(rng.random((7, 3, 4, 5)).astype(np.float32))
    blocks[2, 1], blocks[3] = 0, 0
    position = torch.from_numpy(rng.integers(0, 9, (7, 2)))
    known = similarities(blocks, position, scene, norm)
    found = similarities_on_device(blocks, position, scene, norm)
    torch.testing.assert_close(found, known, rtol=0, atol=1e-14)


def test_the_public_function_hands_everything_on(monkeypatch):
    """What `backend="cuda"` does, with the emulation in the kernels' place."""
    module = importlib.import_module("hud_fast.kernels.windows")
    monkeypatch.setattr(module, "resolve", lambda *_, **__: "emulated")
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((20, 23, 5)), rng.random((5, 6, 6, 4)).transpose(3, 1, 2, 0)
    mask = rng.random((20, 23)) > 0.01
    for options in ({"stride": 2, "norm": "block"}, {"mask": mask}, {"memory_limit": 10**6}):
        value, position = hud.window_search(blocks, scene, **options)
        assert hud.last_backend() == "emulated"
        assert isinstance(value, np.ndarray)
        options.pop("memory_limit", 0)
        expected, at = oracles.window_search(blocks, scene, **options)
        np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
        np.testing.assert_array_equal(position, at)
    q, _ = np.linalg.qr(rng.random((5, 5)))
    unit = [a / np.linalg.norm(a, axis=-1, keepdims=True) @ q for a in (blocks, scene)]
    found = hud.window_search(*unit, normalize=False)[0]
    np.testing.assert_allclose(found, oracles.window_search(blocks, scene)[0], rtol=0, atol=ATOL)
    with pytest.raises(ValueError, match="without masked or non-finite pixels, got none"):
        hud.window_search(blocks, scene * np.nan)
    with pytest.raises(ValueError, match=r"window_search: `memory_limit` must be at least \d+"):
        hud.window_search(blocks, scene, memory_limit=1)
    assert hud.window_search(blocks[:0], scene)[1].shape == (0, 2)


@NEEDS_GPU
def test_the_public_function_takes_cuda_tensors_by_name():
    rng = np.random.default_rng(0)
    scene = torch.from_numpy(rng.random((30, 33, 5))).cuda()
    blocks = torch.from_numpy(rng.random((5, 6, 6, 4))).permute(3, 1, 2, 0).cuda()  # strided
    value, position = hud.window_search(blocks, scene, backend="cuda")
    assert (value.device.type, position.device.type) == ("cuda", "cuda")
    expected, at = oracles.window_search(blocks.cpu().numpy(), scene.cpu().numpy())
    np.testing.assert_allclose(value.cpu(), expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position.cpu(), at)
    with pytest.raises(ValueError, match="without masked or non-finite pixels, got none"):
        hud.window_search(blocks, scene * torch.nan, backend="cuda")


@NEEDS_GPU
def test_on_another_stream():
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((60, 64, 6)), rng.random((8, 12, 12, 6))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        b, made = ready("cuda", blocks, scene)
        value, position = made.search(b * 2)
    stream.synchronize()
    expected, at = oracles.window_search(blocks, scene)
    np.testing.assert_allclose(value.cpu(), expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position.cpu(), at)


@NEEDS_GPU
@every_way
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_a_search_captured_in_a_graph(force, way, norm):
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((40, 44, 6)), rng.random((3, 9, 9, 6))
    force(way)
    b, made = ready("cuda", blocks, scene, norm=norm)
    made.search(b)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value, position = made.search(b)
    for seed in (1, 2):
        other = np.random.default_rng(seed).random(blocks.shape)
        b.copy_(torch.from_numpy(other))
        graph.replay()
        torch.cuda.synchronize()
        expected, at = oracles.window_search(other, scene, norm=norm)
        np.testing.assert_allclose(value.cpu(), expected, rtol=0, atol=ATOL)
        np.testing.assert_array_equal(position.cpu(), at)


def test_without_a_gpu_the_name_is_refused():
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    scene = np.ones((4, 4, 2))
    with pytest.raises(RuntimeError, match="window_search: backend 'cuda' cannot run"):
        hud.window_search(scene[None], scene, backend="cuda")


@pytest.mark.parametrize("tile", [(2, 2), (5, 6), (9, 10), (16, 15), (64, 96)])
def test_every_butterfly_meets_its_mirror_once(tile):
    """The frequencies of a fold's two butterflies are each other's negatives, in the order that `low` says."""
    down, across = tile
    plan = C.window_tile_plan(down, across, 1, 1, 1, 1, 232448, "fft", down, across)
    orders = [frequencies(radices_of(length)) for length in tile]
    R = radices_of(down)[-1]
    seen = []
    for own, other, low in plan["fold"]:
        assert own <= other
        seen += [own] if own == other else [own, other]
        (y, x), (Y, X) = divmod(own, across), divmod(other, across)
        assert (orders[1][x] + orders[1][X]) % across == 0
        for j in range(R):
            mirrored = (R - j) % R if low else R - 1 - j
            assert (orders[0][y * R + j] + orders[0][Y * R + mirrored]) % down == 0
    assert sorted(seen) == list(range(down * across // R))


def radices_of(length):
    found = []
    for radix in (3, 5):
        while length % radix == 0:
            found.append(radix)
            length //= radix
    while length > 1:
        found.append(8 if length >= 8 and length != 16 else 4 if length >= 4 else 2)
        length //= found[-1]
    return found


def frequencies(radices):
    """The order that decimation in frequency leaves, radix by radix."""
    order = np.zeros(1, int)
    for radix in radices:
        order = (order[:, None] + len(order) * np.arange(radix)).reshape(-1)
    return order


def test_a_job_is_checked_entry_by_entry():
    rng = np.random.default_rng(0)
    _, made = ready("emulated", rng.random((1, 3, 4, 5)), rng.random((9, 8, 5)))
    job = made._common()
    C.emulated_window_tiles(job, 0, 0)
    for entry, wrong, words in (
        ("scene", job["scene"].half(), "must be float"),
        ("factor", job["factor"][1:], "must have 72 values or more, got 64"),
        ("centre", job["centre"].float(), "must be float64"),
        ("factor", job["factor"].to("meta"), "must be a tensor with memory"),
        ("centre", 0, "must be a tensor with memory"),
    ):
        with pytest.raises(ValueError, match=f"the job's '{entry}' {words}"):
            C.emulated_window_tiles({**job, entry: wrong}, 0, 0)
    with pytest.raises(KeyError, match="the job lacks 'centre'"):
        C.emulated_window_tiles({k: v for k, v in job.items() if k != "centre"}, 0, 0)
    if C.cuda_version:
        with pytest.raises(ValueError, match="the job's 'scene' lies on another device"):
            C.cuda_window_correlate(job, False, 0, 0)


@NEEDS_GPU
def test_powers_of_two_are_exact_on_a_gpu():
    """What a scene is scaled with moves no bit: every exponent of `_unit_scale`, and itself."""
    from hud_fast.kernels.windows.device_scales import _unit_scale

    exponents = torch.arange(-1000, 1001)
    exact = torch.from_numpy(np.ldexp(1.0, exponents.numpy()))
    sizes = exact.cuda()
    found = torch.stack([_unit_scale(size) for size in sizes])
    expected = torch.stack([_unit_scale(size) for size in exact])
    assert torch.equal(found.cpu(), expected)
    assert (np.frexp(expected.numpy())[0] == 0.5).all()
