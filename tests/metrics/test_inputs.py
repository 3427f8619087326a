"""Tensors and arrays that are not plain, given to what reads values: right, or one error that names the argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hud_fast as hud

CUBES = torch.from_numpy(np.random.default_rng(0).random((2, 6, 6, 5)))
SCENE = torch.from_numpy(np.random.default_rng(1).random((14, 12, 5)))
CALLS = {
    "point_fidelity: `generated`": lambda v: hud.point_fidelity(v, SCENE),
    "point_fidelity: `real`": lambda v: hud.point_fidelity(CUBES, v),
    "block_diversity: `generated`": lambda v: hud.block_diversity(v, SCENE),
    "copy_check: `generated`": lambda v: hud.copy_check(v, SCENE, count=4).share,
    "vca: `pixels`": lambda v: hud.vca(v, 3, seed=0),
    "count_endmembers: `pixels`": hud.count_endmembers,
    "CosineIndex: `reference`": lambda v: hud.CosineIndex(v).search(SCENE)[0],
    "WindowIndex: `scene`": lambda v: hud.WindowIndex(v, 2).search(SCENE[None, :2, :2])[0],
}
OF_A_SCENE = ("WindowIndex: `scene`",)  # the others take cubes as well


def packed(t):
    rows = np.zeros(t.shape[:-1], dtype=[("mark", "u1"), ("value", "f8", t.shape[-1:])])
    rows["value"] = t
    return rows["value"]


HOLLOW = {
    "meta": lambda t: t.to("meta"),
    "functional": torch._to_functional_tensor,
    "sparse": torch.Tensor.to_sparse,
    "nested": lambda t: torch.nested.nested_tensor(list(t), layout=torch.jagged),
    "quantized": lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "odd",
    [packed, lambda t: torch._neg_view(-t), lambda t: torch.complex(t, -t).conj().imag],
    ids=["packed", "negated", "conjugated"],
)
def test_odd_memory_is_read_as_it_is_meant(name, odd):
    plain = SCENE if name in OF_A_SCENE else CUBES
    np.testing.assert_allclose(CALLS[name](odd(plain)), CALLS[name](plain), rtol=1e-12)


@pytest.mark.filterwarnings("ignore")  # torch's own, where such tensors are made
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("make", HOLLOW.values(), ids=HOLLOW)
def test_what_holds_no_plain_values_is_refused(name, make):
    with pytest.raises((TypeError, RuntimeError), match=name.replace(": ", r"(\.\w+)?: ")):
        CALLS[name](make(SCENE if name in OF_A_SCENE else CUBES))


@pytest.mark.parametrize("name", ["vca: `pixels`", "count_endmembers: `pixels`"])
def test_values_at_the_end_of_float64_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not exceed 1e\\+290, got"):
        CALLS[name](CUBES * 1e308)


def test_more_axes_than_the_kernels_read():
    with pytest.raises(ValueError, match=r"log_project: `abundances` must have at most 8 axes"):
        hud.log_project(np.ones((1,) * 8 + (3,)))
