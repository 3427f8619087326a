"""The counter-based noise: known answers, distribution, independence of batch and split; q_sample and sampler_step."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from isa import SLOW, cpu_only, every_backend, every_level, every_path, running
from scipy import stats
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

import hud_fast as hud
from hud_fast.diffusion.sampling import plan
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.kernels import sampler_step_at
from hud_fast.kernels._native import C
from hud_fast.kernels.noise.normal_noise import Address, normal_noise_reference, philox_reference

# Random123's known answers for philox4x32-10: counter, key, result.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
]


@cpu_only
@every_level
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(level, counter, key, answer):
    with running(level):
        assert list(C.philox(*counter, *key)) == answer
    assert oracles.philox(counter, key) == answer
    tensors = philox_reference([torch.tensor(c) for c in counter], (key[0], key[1]))
    assert [int(t) for t in tensors] == answer


def test_philox_in_torch_is_philox():
    """All bits of all words, 64-bit products that wrap included, for counters of any shape."""
    generator = torch.Generator().manual_seed(0)
    counter = [torch.randint(2**32, (20, 7), generator=generator) for _ in range(4)]
    for key in ((0x80000000, 0xFFFFFFFF), (0xDEADBEEF, 7)):
        numbers = torch.stack(philox_reference(counter, key), -1).view(-1, 4)
        for given, answer in zip(
            torch.stack(counter, -1).view(-1, 4).tolist(), numbers, strict=True
        ):
            assert oracles.philox(given, list(key)) == answer.tolist()


class Launches(TorchDispatchMode):
    """Counts the operations that a device has to launch: views are none, and numbers of the host are none of its."""

    def __init__(self, device):
        super().__init__()
        self.device, self.names = device, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        returned = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returned)
        if not view and isinstance(out, torch.Tensor) and out.device.type == self.device:
            self.names.append(func.__name__)
        return out


def test_the_plain_reference_takes_few_launches():
    """Each costs some microseconds on a GPU, in every step of a training or sampling; they were 289."""
    at = torch.ones(1, dtype=torch.int64, device="meta")
    with Launches("meta") as launches:
        noise = normal_noise_reference(8, 4096, Address(2**62, 0, 0, at, at), "meta")
    assert (noise.shape, noise.dtype, noise.device.type) == ((8, 4096), torch.float32, "meta")
    assert 40 < len(launches.names) <= 60, launches.names


def test_the_plain_reference_rounds_once():
    """float64 to the end, whatever torch's default is: the oracle's number, rounded to float32."""
    address, count = (2**63 - 1, 2**32 - 2, 2**40 + 2**32 - 1), 1000
    truth = np.stack([oracles.normal_noise(count, *address[:2], address[2] + i) for i in range(2)])
    at, start = torch.tensor([1]), torch.tensor([2**40])
    told = Address(address[0], address[1] - 1, 2**32 - 1, at, start)
    ours = [normal_noise_reference(2, count, a) for a in (Address(*address), told)]
    torch.set_default_dtype(torch.float64)
    try:
        ours.append(normal_noise_reference(2, count, told))
    finally:
        torch.set_default_dtype(torch.float32)
    for noise in ours:
        assert noise.dtype == torch.float32
        assert noise.is_contiguous()
        np.testing.assert_allclose(noise, truth, rtol=1e-7)
    # a step is modulo 2**32, and none of either is none
    wrapped = normal_noise_reference(2, count, told._replace(at=at + 2**32))
    assert torch.equal(wrapped, ours[1])
    assert normal_noise_reference(0, 5, told).shape == (0, 5)
    assert normal_noise_reference(3, 0, told).shape == (3, 0)


@every_path
@pytest.mark.parametrize(
    ("seed", "step", "sample", "count"),
    [(0, 0, 0, 1), (1, 2, 3, 64), (2**63 - 1, 2**32 - 1, 2**62 + 5, 130), (7, 1, 2**32, 200)],
)
def test_noise_is_what_its_address_says(path, seed, step, sample, count):
    backend, level = path
    with running(level):
        noise = hud.normal_noise((1, count), seed=seed, step=step, first=sample, backend=backend)
    assert hud.last_backend() == backend
    truth = oracles.normal_noise(count, seed, step, sample)
    # float32's radius and angle: 1e-6 of the largest radius
    np.testing.assert_allclose(noise[0], truth, rtol=0, atol=6e-6)


@every_level
def test_noise_is_normal(level):
    with running(level):
        noise = (
            hud.normal_noise((4 if SLOW else 16, 65536), seed=11, step=3).double().numpy().ravel()
        )
    n = noise.size
    assert abs(noise.mean()) < 5 / n**0.5
    assert abs(noise.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((noise**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((noise**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert 4.5 < np.abs(noise).max() < 6.8
    assert stats.kstest(noise, "norm").pvalue > 1e-4
    # the tails too: a generator with a short radius passes the tests above
    beyond = (np.abs(noise) > 4).sum()
    assert abs(beyond - 2 * stats.norm.sf(4) * n) < 5 * (2 * stats.norm.sf(4) * n) ** 0.5


def test_addresses_are_independent():
    """No two neighbours in seed, step, sample or place are correlated."""
    n = 15_000 if SLOW else 200_000
    base = hud.normal_noise((2, n), seed=5, step=9)
    others = {
        "sample": base[1],
        "seed": hud.normal_noise((1, n), seed=6, step=9)[0],
        "step": hud.normal_noise((1, n), seed=5, step=10)[0],
        "high seed": hud.normal_noise((1, n), seed=5 + 2**32, step=9)[0],
        "high sample": hud.normal_noise((1, n), seed=5, step=9, first=2**32)[0],
        "next": base[0].roll(1),
        "pair": base[0].roll(16),
        "next group": base[0].roll(64),
    }
    for name, other in others.items():
        for f in (lambda v: v, lambda v: v.square() - 1):
            correlation = float((f(base[0].double()) * f(other.double())).mean())
            assert abs(correlation) < 5 * 2 / n**0.5, name


@every_level
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_sample_is_the_same_in_any_batch_and_thread_count(level, dtype):
    shape = (3, 37, 29)  # no multiple of a group or a vector
    signal = torch.linspace(0.1, 0.9, 11, dtype=torch.float64)
    z = torch.randn(11, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    threads = torch.get_num_threads()
    try:
        with running(level):
            torch.set_num_threads(1)
            noisy, noise = hud.q_sample(z, signal, seed=3, step=4)
            alone = hud.q_sample(z[7:9], signal[7:9], seed=3, step=4, first=7)
            step = {"z_factor": 1.1, "eps_factor": -0.2, "noise_factor": 0.3, "seed": 3, "step": 4}
            stepped = hud.sampler_step(z, noisy, **step)
            stepped_alone = hud.sampler_step(z[7:9], noisy[7:9], first=7, **step)
            torch.set_num_threads(2)
            threaded = hud.q_sample(z, signal, seed=3, step=4)
            again = hud.sampler_step(z, noisy, **step)
            pure = hud.normal_noise(z.shape, seed=3, step=4, dtype=dtype)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(noise[7:9], alone[1])
    assert torch.equal(noisy[7:9], alone[0])
    assert torch.equal(noisy, threaded[0])
    assert torch.equal(stepped[7:9], stepped_alone)
    assert torch.equal(stepped, again)
    assert torch.equal(noise, pure)


@every_path
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_q_sample_is_equation_8(path, dtype):
    backend, level = path
    schedule = NoiseSchedule()
    t = torch.tensor([0, 10, 500, 999])
    z = torch.randn(4, 3, 9, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    with running(level):
        noisy, noise = hud.q_sample(z, schedule.alphas_cumprod[t], seed=1, step=0, backend=backend)
    assert hud.last_backend() == backend
    truth = schedule.add_noise(z.double(), noise.double(), t)
    # the noise is rounded to the dtype where it is returned, not where it is added
    torch.testing.assert_close(
        noisy.double(), truth, rtol=0, atol=float(8 * torch.finfo(dtype).eps)
    )


@every_path
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_sampler_step_is_the_plan_s(path, dtype, sampler):
    backend, level = path
    generator = torch.Generator().manual_seed(2)
    z, eps, n = (torch.randn(3, 5, 7, 9, generator=generator).to(dtype) for _ in range(3))
    for step in plan(NoiseSchedule(), sampler=sampler, steps=3):
        factors = dict(zip(("z_factor", "eps_factor", "noise_factor"), step[1:4], strict=True))
        given = n if step.noise_factor else None
        with running(level):
            out = hud.sampler_step(z, eps, noise=given, **factors, backend=backend)
        assert hud.last_backend() == backend
        truth = step.z_factor * z.double() + step.eps_factor * eps.double()
        truth += step.noise_factor * n.double()
        scale = max(map(abs, step[1:4])) * 12
        torch.testing.assert_close(
            out.double(), truth, rtol=0, atol=scale * float(torch.finfo(dtype).eps)
        )


def test_drawn_noise_is_the_noise_of_that_address():
    z, eps = torch.randn(4, 3, 50), torch.randn(4, 3, 50)
    n = hud.normal_noise(z.shape, seed=8, step=17, first=2)
    factors = {"z_factor": 0.9, "eps_factor": 0.1, "noise_factor": 0.7}
    drawn = hud.sampler_step(z, eps, seed=8, step=17, first=2, **factors)
    assert torch.equal(drawn, hud.sampler_step(z, eps, noise=n, **factors))


@every_path
def test_what_a_graph_replays_is_read_where_it_lies(path):
    """Step and sample as tensors, factors as a row of a table, in place: what numbers give."""
    backend, level = path
    z, eps, past = torch.randn(3, 4, 3, 50)
    table = torch.rand(3, 6)
    k, four = torch.tensor([2]), torch.tensor(4)
    options = {"seed": 8, "backend": backend}
    with running(level):
        drawn = hud.normal_noise(z.shape, step=7, first=4, **options)
        assert torch.equal(hud.normal_noise(z.shape, step=k + 5, first=four, **options), drawn)
        signal = [0.5] * 4
        noise = hud.q_sample(z, signal, step=k + 5, first=four, **options)[1]
        assert torch.equal(noise, drawn)
        named = {"z_factor": 1.0, "eps_factor": 0.0, "noise_factor": 1.0}
        stepped = hud.sampler_step(z, eps, step=k + 5, first=four, **named, **options)
        torch.testing.assert_close(stepped, z + drawn)
        kept, out = past.clone(), z.clone()
        found = sampler_step_at(
            out, eps, table, k, step=5, first=four, past=kept, out=out, **options
        )
    assert hud.last_backend() == backend
    assert found is out
    a, b, c, p, q, r = table[2].tolist()
    torch.testing.assert_close(out, a * z + b * eps + c * drawn + p * past)
    torch.testing.assert_close(kept, q * z + r * eps)


def test_strided_and_empty_steps_of_a_table():
    z = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    table, row = torch.tensor([[1.0, 2.0, 0.0, 3.0, 4.0, 5.0]]), torch.tensor(0)
    past, plain = torch.ones_like(z), z.clone()
    sampler_step_at(z, plain, table, row, seed=0, past=past, out=z)
    torch.testing.assert_close(z, 3 * plain + 3)
    torch.testing.assert_close(past, 9 * plain)
    empty = torch.zeros(0, 3)
    assert sampler_step_at(empty, empty, table, row, seed=0, past=empty).shape == (0, 3)


@every_backend
def test_gradients(backend):
    z, eps, n = (torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(3))
    factors = {"z_factor": 0.9, "eps_factor": 0.1, "noise_factor": 0.7, "backend": backend}
    torch.autograd.gradcheck(
        lambda a, b, c: hud.sampler_step(a, b, noise=c, **factors), (z, eps, n), fast_mode=SLOW
    )
    torch.autograd.gradcheck(
        lambda a, b: hud.sampler_step(a, b, seed=1, **factors), (z, eps), fast_mode=SLOW
    )
    signal = [0.1, 0.5, 1.0]
    torch.autograd.gradcheck(
        lambda a: hud.q_sample(a, signal, seed=1, step=2, backend=backend)[0], (z,), fast_mode=SLOW
    )


@pytest.mark.parametrize("grad", [False, True])
def test_opcheck(grad):
    z = torch.randn(3, 4, 17, dtype=torch.float64).requires_grad_(grad)
    eps = torch.randn(3, 4, 17, dtype=torch.float64)
    signal = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    ops = torch.ops.hud_fast
    opcheck(ops.q_sample.default, (z, signal, 1, 2, 3))
    opcheck(ops.sampler_step.default, (z, eps, None, 0.9, 0.1, 0.2, True, 1, 2, 3))
    opcheck(ops.sampler_step.default, (z, eps, eps.clone(), 0.9, 0.1, 0.2, False, 0, 0, 0))
    if not grad:
        table, row = torch.rand(2, 6, dtype=torch.float64), torch.tensor([1])
        opcheck(ops.sampler_step_at.default, (z, eps, table, row, None, 1, 2, 3))
        opcheck(ops.sampler_step_at.default, (z, eps, table, row, eps.clone(), 1, 2, 3, row))


def test_compiles_without_a_graph_break():
    def chain(z, eps):
        noisy, noise = hud.q_sample(z, torch.tensor([0.5, 0.25]), seed=0, step=1)
        return hud.sampler_step(noisy, eps, z_factor=1.0, eps_factor=0.5) + noise

    z, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    compiled = torch.compile(chain, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(z, eps), chain(z, eps))


def test_strided_hostile_and_empty_input():
    z = torch.randn(6, 4, 9)
    z[1, 2, 3], z[2, 0, 0] = torch.nan, torch.inf
    strided = torch.empty(12, 4, 9)[::2].copy_(z)
    signal = [0.5] * 6
    plain, other = (hud.q_sample(v, signal, seed=0, step=0)[0] for v in (z, strided))
    torch.testing.assert_close(plain, other, rtol=0, atol=0, equal_nan=True)
    assert plain.isnan().sum() == 1
    assert plain.isinf().sum() == 1
    assert hud.q_sample(torch.zeros(0, 3), [], seed=0, step=0)[0].shape == (0, 3)
    assert hud.q_sample(torch.zeros(3, 0), [1] * 3, seed=0, step=0)[1].shape == (3, 0)
    empty = torch.zeros(0, 2)
    assert hud.sampler_step(empty, empty, z_factor=1.0, eps_factor=1.0).shape == (0, 2)
    assert hud.normal_noise((0,), seed=0).shape == (0,)


Z = torch.zeros(2, 3)
ROW = torch.tensor([1])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: hud.normal_noise((2,), seed=-1),
            ValueError,
            r"normal_noise: `seed` must be from 0 to 2\*\*63 - 1, got -1",
        ),
        (
            lambda: hud.normal_noise((2,), seed=0.5),
            TypeError,
            "normal_noise: `seed` must be an integer, got 0.5",
        ),
        (
            lambda: hud.normal_noise((2,), seed=0, step=2**32),
            ValueError,
            r"normal_noise: `step` must be from 0 to 2\*\*32 - 1",
        ),
        (
            lambda: hud.normal_noise((), seed=0),
            ValueError,
            r"normal_noise: `shape` must be \(B, ...\)",
        ),
        (
            lambda: hud.normal_noise((2,), seed=0, dtype=torch.int32),
            TypeError,
            "normal_noise: `dtype` must be of floats",
        ),
        (
            lambda: hud.q_sample(np.zeros((2, 3)), [1, 1], seed=0, step=0),
            TypeError,
            "q_sample: `z` must be a torch.Tensor, got ndarray",
        ),
        (
            lambda: hud.q_sample(Z, [1.0], seed=0, step=0),
            ValueError,
            r"q_sample: `signal` must have shape \(B,\) with B = 2",
        ),
        (
            lambda: hud.q_sample(Z, [1.0, 1.5], seed=0, step=0),
            ValueError,
            r"q_sample: `signal` must lie in \[0, 1\]",
        ),
        (
            lambda: hud.sampler_step(Z, Z[:1], z_factor=1, eps_factor=1),
            ValueError,
            r"sampler_step: `eps` must have shape \(B, ...\) as `z` \(2, 3\), got \(1, 3\)",
        ),
        (
            lambda: hud.sampler_step(Z, Z.double(), z_factor=1, eps_factor=1),
            TypeError,
            "sampler_step: `eps` must be of z's dtype",
        ),
        (
            lambda: hud.sampler_step(Z, Z, z_factor=1, eps_factor=1, noise_factor=1),
            ValueError,
            "sampler_step: `noise_factor` 1 needs `noise` or a `seed`, got neither",
        ),
        (
            lambda: hud.normal_noise((2,), seed=0, step=torch.tensor([1.0])),
            TypeError,
            r"normal_noise: `step` must be an integer or a tensor of one int64, got torch.float32",
        ),
        (
            lambda: hud.q_sample(Z, [1, 1], seed=0, step=0, first=torch.zeros(1, device="meta")),
            TypeError,
            "q_sample: `first` must be an integer or a tensor of one int64, got torch.float32",
        ),
        (
            lambda: hud.normal_noise((2,), seed=0, step=torch.ones(1, device="meta").long()),
            RuntimeError,
            "normal_noise: `step` must be on the tensors' device cpu, got meta",
        ),
        (
            lambda: sampler_step_at(Z, Z, torch.ones(4, 2), ROW, seed=0),
            ValueError,
            r"sampler_step_at: `table` must have shape \(K, 3\) with K >= 1, got \(4, 2\)",
        ),
        (
            lambda: sampler_step_at(Z, Z, torch.ones(4, 3), ROW, seed=0, past=Z),
            ValueError,
            r"sampler_step_at: `table` must have shape \(K, 6\) with K >= 1, got \(4, 3\)",
        ),
        (
            lambda: sampler_step_at(Z, Z, torch.ones(4, 3).long(), ROW, seed=0),
            TypeError,
            "sampler_step_at: `table` must be of float32 or float64, got torch.int64",
        ),
        (
            lambda: sampler_step_at(Z, Z, torch.ones(4, 3), ROW.int(), seed=0),
            TypeError,
            "sampler_step_at: `row` must be a tensor of one int64, got torch.int32",
        ),
        (
            lambda: sampler_step_at(Z, Z[:1], torch.ones(4, 3), ROW, seed=0),
            ValueError,
            r"sampler_step_at: `eps` must have shape \(B, ...\) as `z` \(2, 3\), got \(1, 3\)",
        ),
        (
            lambda: sampler_step_at(Z, Z, torch.ones(4, 3), ROW, seed=0, out=Z.double()),
            TypeError,
            "sampler_step_at: `out` must be of z's dtype torch.float32, got torch.float64",
        ),
        (
            lambda: sampler_step_at(Z, Z.clone().requires_grad_(), torch.ones(4, 3), ROW, seed=0),
            RuntimeError,
            "sampler_step_at: `eps` wants a gradient, and this step has none",
        ),
        (
            lambda: hud.sampler_step(Z, None, z_factor=1, eps_factor=1),
            TypeError,
            "sampler_step: `eps` must be a torch.Tensor, got NoneType",
        ),
    ],
)
def test_errors_name_the_argument(call, error, match):
    with pytest.raises(error, match=match):
        call()
