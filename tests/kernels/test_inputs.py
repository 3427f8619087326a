"""Arrays and tensors that are not plain: a public function is right, or raises one error that names it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from isa import TESTED, cpu_only

import hud_fast as hud

EYE = np.eye(3)
SCENE = np.random.default_rng(1).random((4, 5, 3))
# Each argument that takes an array: the call, and the shape it wants.
CALLS = {
    "log_project: `abundances`": (hud.log_project, (4, 3)),
    "simplex_softmax: `z`": (hud.simplex_softmax, (4, 3)),
    "fcls: `pixels`": (lambda v: hud.fcls(v, EYE), (4, 3)),
    "fcls: `endmembers`": (lambda v: hud.fcls(np.ones((2, 3)), v), (4, 3)),
    "cosine_max: `query`": (lambda v: hud.cosine_max(v, EYE)[0], (4, 3)),
    "cosine_max: `reference`": (lambda v: hud.cosine_max(EYE, v)[0], (4, 3)),
    "window_search: `blocks`": (lambda v: hud.window_search(v, SCENE)[0], (2, 2, 2, 3)),
    "window_search: `scene`": (lambda v: hud.window_search(SCENE[None, :2, :2], v)[0], (4, 5, 3)),
}
if TESTED != "cpu":  # the operations that it has
    CALLS = {k: call for k, call in CALLS.items() if hud.can_run(TESTED, op=k.split(":")[0])}
every_argument = pytest.mark.parametrize("argument", CALLS)


def sample(shape):
    return np.random.default_rng(0).random(shape) - 0.3


def unaligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


def field(a):
    packed = np.zeros(a.shape, [("before", "u1"), ("value", a.dtype)])
    packed["value"] = a
    return packed["value"]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


ARRAYS = {
    "unaligned": unaligned,
    "a field of a packed array": field,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "a masked array without masked values": lambda a: np.ma.masked_array(
        a, np.zeros(a.shape, bool)
    ),
}
TENSORS = {
    "lazy sign": lambda t: torch._neg_view(-t),
    "imaginary part of a conjugate": lambda t: torch.complex(t, -t).conj().imag,
    "strided": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "wants a gradient": lambda t: t.clone().requires_grad_(),
    "a parameter": lambda t: torch.nn.Parameter(t.clone()),
}


@every_argument
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_arrays_of_any_layout(argument, kind, dtype):
    call, shape = CALLS[argument]
    plain = sample(shape).astype(dtype)
    np.testing.assert_array_equal(call(ARRAYS[kind](plain)), call(plain))


@every_argument
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_any_layout(argument, kind):
    call, shape = CALLS[argument]
    plain = torch.from_numpy(sample(shape))
    found, expected = (torch.as_tensor(call(v)).detach() for v in (TENSORS[kind](plain), plain))
    assert torch.equal(found, expected)


REFUSED = {
    "a masked array with masked values": lambda a: np.ma.masked_array(a, a > 0),
    "got object": lambda a: a.astype(object),
    "got bool": lambda a: a > 0,
    "float64 or narrower, got dtype": lambda a: a.astype(np.longdouble),
    "torch.complex": lambda a: torch.from_numpy(a) + 0j,
    "torch.bool": lambda a: torch.from_numpy(a > 0),
    "layout torch.sparse_coo": lambda a: torch.from_numpy(a).to_sparse(),
    "got a nested one": lambda a: torch.nested.nested_tensor([torch.from_numpy(a[0])] * 2),
    "got list": lambda a: a.tolist(),
    "got NoneType": lambda _: None,
}


@every_argument
@pytest.mark.parametrize("words", REFUSED)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_is_no_plain_array_is_refused(argument, words):
    call, shape = CALLS[argument]
    with pytest.raises(TypeError, match=f"^{argument} must .*{words}"):
        call(REFUSED[words](sample(shape)))


@every_argument
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_tensor_is_refused(argument):
    call, shape = CALLS[argument]
    quantized = torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.quint8)
    with pytest.raises(TypeError, match=f"^{argument} must "):
        call(quantized)


X = np.ones((2, 3))
BLOCK = SCENE[None, :2, :2]


@cpu_only
@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: hud.log_project(X, 1.0),
            TypeError,
            "log_project: `dim` must be an integer, got 1.0",
        ),
        (
            lambda: hud.simplex_softmax(X, None),
            TypeError,
            "simplex_softmax: `dim` must be an integer",
        ),
        (lambda: hud.log_project(X, 10**30), ValueError, "log_project: `dim` must name an axis"),
        (
            lambda: hud.log_project(torch.ones(2, 3).to(torch.float8_e4m3fn)),
            TypeError,
            "log_project: `abundances` must have floats of 16 bits or more",
        ),
        (
            lambda: hud.fcls(X, EYE, sum_to_one="no"),
            TypeError,
            "fcls: `sum_to_one` must be True or False, got 'no'",
        ),
        (
            lambda: hud.fcls(X, EYE, shade=1),
            TypeError,
            "fcls: `shade` must be True or False, got 1",
        ),
        (
            lambda: hud.fcls(X, EYE, return_status=None),
            TypeError,
            "fcls: `return_status` must be True or False, got None",
        ),
        (
            lambda: hud.window_search(BLOCK, SCENE, normalize=0),
            TypeError,
            "window_search: `normalize` must be True or False, got 0",
        ),
        (
            lambda: hud.window_search(BLOCK, SCENE, norm=np.ones(2)),
            ValueError,
            'window_search: `norm` must be "pixel" or "block"',
        ),
        (
            lambda: hud.window_search(BLOCK, SCENE, mask=[[True]]),
            ValueError,
            r"window_search: `mask` must have the shape \(4, 5\) of the pixels, got \(1, 1\)",
        ),
        (
            lambda: hud.cosine_max(X, X, backend=5),
            ValueError,
            "cosine_max: `backend` must be None or one of torch, cpu, cuda, triton, got 5",
        ),
        (
            lambda: hud.window_search(
                torch.ones(1, 2, 2, 3, device="meta"), torch.ones(4, 5, 3, device="meta")
            ),
            RuntimeError,
            "window_search: `blocks` must hold values, got a tensor on the meta device",
        ),
    ],
)
def test_errors_name_function_argument_and_value(call, error, match):
    with pytest.raises(error, match=f"^{match}"):
        call()


@cpu_only
def test_an_unknown_backend_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("HUD_FAST_BACKEND", "gpu")
    with pytest.raises(ValueError, match=r"fcls: HUD_FAST_BACKEND must be None or one of .*'gpu'"):
        hud.fcls(X, EYE)
    monkeypatch.setenv("HUD_FAST_BACKEND", "")
    assert hud.fcls(X, EYE).shape == (2, 3)


@cpu_only
def test_meta_tensors_give_shapes():
    pixels, endmembers = torch.ones(5, 4, device="meta"), torch.ones(3, 4, device="meta")
    assert hud.fcls(pixels, endmembers).shape == (5, 3)
    assert hud.cosine_max(pixels, endmembers)[0].shape == (5,)
    assert hud.simplex_softmax(hud.log_project(pixels)).shape == (5, 4)
