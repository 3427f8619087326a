"""FCLS: the certificate on everything, agreement with enumeration, the odd inputs of real work, gradients.

The certificate needs no solver: x >= 0 exactly, |sum - 1| <= D eps, and a duality gap (computed here in extended
precision from the raw bands) of at most 1e-12 of the mean |y|^2.
"""

from __future__ import annotations

import os

import numpy as np
import oracles
import pytest
import torch
from fcls_inputs import GAP, certify, mixtures, smooth_endmembers
from hypothesis import given
from hypothesis import strategies as st
from isa import every_level, every_path, running
from torch.library import opcheck

import hud_fast as hud

# Pixels taken of each real scene; HUD_FAST_PIXELS=1000000 takes all.
SAMPLE = int(os.environ.get("HUD_FAST_PIXELS", "1500"))


@every_path
@pytest.mark.parametrize(("D", "C"), [(1, 4), (2, 3), (3, 30), (5, 7), (6, 50)])
@pytest.mark.parametrize("sum_to_one", [True, False])
def test_agrees_with_trying_every_support(path, D, C, sum_to_one):
    backend, level = path
    A = smooth_endmembers(D, C)
    y = mixtures(A, 40, 0.1)
    with running(level):
        result = hud.fcls(y, A, sum_to_one=sum_to_one, return_status=True, backend=backend)
    assert hud.last_backend() == backend
    expected = np.stack([oracles.fcls_by_enumeration(pixel, A, sum_to_one) for pixel in y])
    np.testing.assert_allclose(result.abundances, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.residual, np.linalg.norm(y - expected @ A, axis=1), atol=1e-9)
    assert (result.status == 0).all()
    if sum_to_one:
        certify(y, A, result.abundances)


@every_level
@pytest.mark.parametrize("D", [1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 32, 40])
def test_certificate_for_every_endmember_count(level, D):
    A = smooth_endmembers(D, 120)
    y = mixtures(A, 203, 0.02)
    with running(level):
        result = hud.fcls(y, A, return_status=True)
    certify(y, A, result.abundances)
    assert result.gap.max() <= GAP
    assert (result.status == 0).all()


@every_level
@pytest.mark.parametrize("near", [1e-2, 1e-4, 1e-9, 0.0])
@pytest.mark.parametrize("D", [5, 16])
def test_near_duplicate_endmembers(level, near, D):
    """Half of the endmembers are the other half, changed by `near`; condition numbers to 1e9, then singular."""
    A = smooth_endmembers(D, 100)
    half = D // 2
    A[-half:] = A[:half] * (1 + near * np.random.default_rng(1).normal(size=(half, 100)))
    y = mixtures(A, 300, 0.02)
    with running(level):
        result = hud.fcls(y, A, return_status=True)
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
}


@every_level
@pytest.mark.parametrize("odd", ODD)
def test_odd_endmembers(level, odd):
    A = ODD[odd](smooth_endmembers(6, 60))
    rng = np.random.default_rng(0)
    y = np.concatenate(
        [
            mixtures(A, 50, 0.02),
            mixtures(A, 50, 0.0),  # noise-free
            A,  # vertices
            (A[:1] + A[-1:]) / 2,  # an edge's midpoint
            np.zeros((1, A.shape[1])),
            100 * rng.normal(size=(20, A.shape[1])),  # far outside
        ]
    )
    with running(level):
        result = hud.fcls(y, A, return_status=True)
    certify(y, A, result.abundances)
    assert (result.status == 0).all()


@every_level
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scale_and_offset_do_not_matter(level, scale, offset):
    A = smooth_endmembers(9, 80)
    y = mixtures(A, 200, 0.02)
    with running(level):
        plain = hud.fcls(y, A)
        moved = hud.fcls(y * scale + offset * scale, A * scale + offset * scale)
    certify(y * scale + offset * scale, A * scale + offset * scale, moved)
    # An offset of 1e6 leaves ten of the data's sixteen digits.
    np.testing.assert_allclose(moved, plain, rtol=0, atol=1e-9 if offset == 0 else 1e-5)


@every_path
@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e160, 1e300])
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}])
def test_no_scale_of_float64_is_too_small_or_too_large(path, scale, options):
    """Squares of these leave float64's range: an abundance must not silently be that of a vertex."""
    backend, level = path
    A = smooth_endmembers(5, 40)
    y = mixtures(A, 30, 0.02)
    with running(level):
        plain = hud.fcls(y, A, return_status=True, backend=backend, **options)
        far = hud.fcls(y * scale, A * scale, return_status=True, backend=backend, **options)
    np.testing.assert_allclose(far.abundances, plain.abundances, rtol=0, atol=1e-10)
    np.testing.assert_allclose(far.residual / scale, plain.residual, rtol=1e-9)
    assert (far.status == 0).all()


@every_level
def test_status_zero_means_optimal_where_nnls_abundances_explode(level):
    """Endmembers that nearly cancel: x of 1e6 and more, whose rounding alone can break the certificate."""
    rng = np.random.default_rng(3)
    certified = 0
    for _ in range(60):
        C = int(rng.choice([2, 5, 8, 30]))
        decay = 10.0 ** -np.linspace(0, rng.uniform(2, 14), min(16, C))
        A = rng.normal(size=(16, len(decay))) @ (decay[:, None] * rng.normal(size=(len(decay), C)))
        y = 10.0 ** rng.integers(0, 8) * rng.normal(size=(20, C))
        with running(level):
            result = hud.fcls(y, A, sum_to_one=False, return_status=True)
        wide, x = A.astype(np.longdouble), result.abundances.astype(np.longdouble)
        c = (y - x @ wide) @ wide.T
        scale = (np.linalg.norm(y, axis=1) + np.linalg.norm(A, axis=1).max()) ** 2
        gap = np.maximum(c.max(1), np.abs((x * c).sum(1))) / scale
        assert (result.abundances >= 0).all()
        assert gap[result.status == 0].max(initial=0) <= 1.5e-12
        certified += int((result.status == 0).sum())
    assert certified > 300


@every_path
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_a_bad_pixel_stays_in_its_row(path, bad, count):
    backend, level = path
    A = smooth_endmembers(5, 40)
    y = mixtures(A, count, 0.02)
    with running(level):
        clean = hud.fcls(y, A, backend=backend)
        for row in {0, count // 2, count - 1}:
            broken = y.copy()
            broken[row, 13] = bad
            result = hud.fcls(broken, A, return_status=True, backend=backend)
            assert np.isnan(result.abundances[row]).all()
            assert result.status[row] == 2
            assert np.isnan(result.gap[row])
            rest = np.arange(count) != row
            # The reference's batched products may round another way for another batch.
            np.testing.assert_allclose(
                result.abundances[rest], clean[rest], rtol=0, atol=0 if backend == "cpu" else 1e-14
            )


@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=3),
    C=st.integers(1, 12),
    D=st.integers(1, 9),
    dtype=st.sampled_from(["f4", "f8", "u1", "u2", "i2", "i4", ">f4", "f2"]),
    layout=st.sampled_from(["plain", "reversed", "stepped", "fortran", "band-major"]),
    tensor=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_layout_and_dtype(shape, C, D, dtype, layout, tensor, seed):
    rng = np.random.default_rng(seed)
    A = rng.random((D, C)) * 200
    y = (rng.random((*shape, C)) * 200).astype(dtype)
    if layout == "reversed":
        y = y[..., ::-1]
    elif layout == "stepped":
        y = np.repeat(y, 2, axis=-1)[..., ::2]
    elif layout == "fortran":
        y = np.asfortranarray(y)
    elif layout == "band-major":
        y = np.moveaxis(np.ascontiguousarray(np.moveaxis(y, -1, 0)), 0, -1)
    given_pixels = (
        torch.from_numpy(y.astype(y.dtype.newbyteorder("="), order="C", copy=True)) if tensor else y
    )
    x = hud.fcls(given_pixels, A)
    x = x.numpy() if tensor else x
    assert x.shape == (*shape, D)
    assert x.dtype == (np.float32 if dtype in ("f4", ">f4", "f2") else np.float64)
    certify(y.reshape(-1, C).astype(np.float64), A, x.reshape(-1, D))


@every_level
def test_permuting_the_endmembers_permutes_the_abundances(level):
    A = smooth_endmembers(10, 90)
    y = mixtures(A, 200, 0.02)
    order = np.random.default_rng(0).permutation(10)
    with running(level):
        np.testing.assert_allclose(hud.fcls(y, A[order]), hud.fcls(y, A)[:, order], atol=1e-10)


@every_level
def test_float32_pixels_are_computed_in_float64(level):
    A = smooth_endmembers(16, 120).astype(np.float32)
    y = mixtures(A.astype(np.float64), 300, 0.02).astype(np.float32)
    with running(level):
        narrow, wide = hud.fcls(y, A), hud.fcls(y.astype(np.float64), A)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(
        narrow, wide, rtol=0, atol=6e-8
    )  # half a unit in the last place of 1


@every_path
def test_the_shade_lets_dark_pixels_be_dark(path):
    backend, level = path
    A = smooth_endmembers(4, 60)
    x = oracles.random_simplex(np.random.default_rng(0), 100, 4)
    y = 0.6 * x @ A
    with running(level):
        found = hud.fcls(y, A, shade=True, backend=backend)
    np.testing.assert_allclose(found, 0.6 * x, atol=1e-8)
    full = np.concatenate([found, 1 - found.sum(1, keepdims=True)], axis=1)
    assert oracles.fcls_gap(y, np.concatenate([A, 0 * A[:1]]), np.maximum(full, 0)).max() <= GAP


@every_level
@pytest.mark.parametrize("dependent", [False, True])
def test_nnls_satisfies_its_optimality_conditions(level, dependent):
    A = smooth_endmembers(8, 50) - 0.3
    if dependent:
        A[4:] = A[:4] * [[1], [2], [1 + 1e-9], [0]]
    y = np.concatenate([mixtures(A, 200, 0.1), -A, 0 * A[:1]])
    with running(level):
        result = hud.fcls(y, A, sum_to_one=False, return_status=True)
    x = result.abundances
    gradient = (x @ A - y) @ A.T
    scale = (y * y).sum(1).mean()
    assert (x >= 0).all()
    assert gradient.min() >= -GAP * scale
    assert np.abs((x * gradient).sum(1)).max() <= GAP * scale
    assert (result.status == 0).all()


def scene_files(data_dir):
    from scipy.io import loadmat

    for path in sorted(data_dir.rglob("*.mat")):
        for name, value in loadmat(path).items():
            if name in ("V", "Y") and value.ndim == 2:
                yield path.name, value.T.astype(np.float64)
            elif getattr(value, "ndim", 0) == 3 and value.shape[2] > 30:
                pixels = value.reshape(-1, value.shape[2]).astype(np.float64)
                yield (
                    path.name,
                    pixels[:, np.isfinite(pixels).all(0)],
                )  # Salton Sea's bad bands are NaN


@pytest.mark.parametrize("D", [5, 16])
@pytest.mark.parametrize("near", [False, True], ids=["distinct", "one-percent-duplicates"])
def test_every_real_scene(data_dir, D, near):
    """All cubes of the data folder, a sample of pixels each, endmembers picked far apart or as 1 % near-duplicates."""
    scenes = list(scene_files(data_dir))
    assert len(scenes) >= 12
    for name, pixels in scenes:
        rng = np.random.default_rng(0)
        pixels = pixels[rng.choice(len(pixels), min(len(pixels), SAMPLE), replace=False)]
        chosen = [int(np.linalg.norm(pixels, axis=1).argmax())]
        while len(chosen) < D:  # successive projection: a deterministic, well-spread choice
            basis = np.linalg.qr(pixels[chosen].T)[0]
            chosen.append(int(np.linalg.norm(pixels - pixels @ basis @ basis.T, axis=1).argmax()))
        A = pixels[chosen]
        if near:
            A[D // 2 : 2 * (D // 2)] = A[: D // 2] * (
                1 + 0.01 * rng.normal(size=(D // 2, A.shape[1]))
            )
        result = hud.fcls(pixels, A, return_status=True)
        certify(pixels, A, result.abundances)
        assert (result.status == 0).all(), name
        assert result.gap.max() <= GAP, name


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}])
def test_gradients(backend, options):
    torch.manual_seed(0)
    A = torch.from_numpy(smooth_endmembers(4, 8)).requires_grad_()
    y = torch.from_numpy(0.9 * mixtures(A.detach().numpy(), 6, 0.05)).requires_grad_()
    torch.autograd.gradcheck(
        lambda p, e: hud.fcls(p, e, backend=backend, **options), (y, A), eps=1e-7, atol=1e-5
    )


def gradients(y, A, **options):
    y, A = y.clone().requires_grad_(), A.clone().requires_grad_()
    return torch.autograd.grad(hud.fcls(y, A, **options).square().sum(), (y, A))


def test_gradients_do_not_lose_digits_to_an_offset_or_a_scale():
    A = torch.from_numpy(smooth_endmembers(5, 40))
    y = torch.from_numpy(mixtures(A.numpy(), 30, 0.02))
    for scale, offset in [(1.0, 1e6), (1e-160, 0.0), (1e160, 0.0)]:
        for found, expected in zip(
            gradients(y * scale + offset, A * scale + offset), gradients(y, A), strict=True
        ):
            tolerance = 1e-7 * float(expected.abs().max())
            torch.testing.assert_close(found * scale, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}])
def test_a_bad_pixel_does_not_reach_the_endmembers_gradient(options):
    A = torch.from_numpy(smooth_endmembers(4, 20)).requires_grad_()
    y = torch.from_numpy(mixtures(A.detach().numpy(), 6, 0.02))
    rest = [0, 1, 3, 4, 5]
    (expected,) = torch.autograd.grad(hud.fcls(y[rest], A, **options).square().sum(), A)
    y[2, 7] = torch.nan
    (found,) = torch.autograd.grad(hud.fcls(y, A, **options)[rest].square().sum(), A)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_forced_backend_runs_where_gradients_are_wanted_too():
    A = torch.from_numpy(smooth_endmembers(4, 20)).requires_grad_()
    for backend in ("torch", "cpu"):
        hud.fcls(A[:2] * 0.9, A, backend=backend)
        assert hud.last_backend() == backend


def test_opcheck():
    A = torch.from_numpy(smooth_endmembers(4, 8))
    y = torch.from_numpy(mixtures(A.numpy(), 6, 0.05))
    for status in (False, True):
        for grad in (False, True):
            arguments = (
                y.clone().requires_grad_(grad),
                A.clone().requires_grad_(grad),
                True,
                False,
                status,
            )
            opcheck(torch.ops.hud_fast.fcls.default, arguments)


def test_compiles_without_a_graph_break():
    A = torch.from_numpy(smooth_endmembers(4, 8))
    y = torch.from_numpy(mixtures(A.numpy(), 6, 0.05))
    compiled = torch.compile(lambda p: hud.fcls(p, A) * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(y), hud.fcls(y, A) * 2)


@pytest.mark.parametrize(
    ("pixels", "endmembers", "options", "error", "match"),
    [
        (
            np.ones((5, 200)),
            np.ones((16, 198)),
            {},
            ValueError,
            r"`endmembers` must have shape \(D, C\) with C = 200 as in `pixels`, got \(16, 198\)",
        ),
        (
            np.ones((5, 3)),
            np.ones(3),
            {},
            ValueError,
            r"`endmembers` must have shape \(D, C\) with C = 3 as in `pixels`, got \(3,\)",
        ),
        (
            np.ones((5, 3)),
            np.ones((0, 3)),
            {},
            ValueError,
            "`endmembers` must have at least one row",
        ),
        (
            np.ones((5, 3)),
            np.array([[1, 2, 3], [1, np.nan, 3]]),
            {},
            ValueError,
            "`endmembers` must be finite, got a non-finite value in row 1",
        ),
        (
            np.ones((5, 0)),
            np.ones((2, 0)),
            {},
            ValueError,
            r"`pixels` must have shape \(..., C\) with C >= 1, got \(5, 0\)",
        ),
        (
            np.ones((5, 3)),
            np.ones((2, 3)),
            {"shade": True, "sum_to_one": False},
            ValueError,
            "`shade` must be False where `sum_to_one` is False",
        ),
        (
            [[1.0]],
            np.ones((2, 3)),
            {},
            TypeError,
            "`pixels` must be a numpy array or a torch tensor, got list",
        ),
        (
            np.ones((5, 3), dtype="U1"),
            np.ones((2, 3)),
            {},
            TypeError,
            "`pixels` must hold real numbers .*, got <U1",
        ),
    ],
)
def test_errors_name_the_argument(pixels, endmembers, options, error, match):
    with pytest.raises(error, match=f"fcls: {match}"):
        hud.fcls(pixels, endmembers, **options)
