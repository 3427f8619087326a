"""Saved indices whose checksum is right and whose content is not: refused, or the change is within rounding."""

from __future__ import annotations

import json
import math

import isa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import hud_fast as hud
from hud_fast.kernels._index_file import checksum, index_format
from hud_fast.kernels.cosine.host import scene_tree

C, D = 12, 3
REFUSED = r"CosineIndex.load: `path` must be a file that CosineIndex.save wrote, got .*: "


@pytest.fixture(scope="module")
def scene():
    """Over 16 leaves, so that a tree has two levels, the last leaf with spare lanes."""
    rng = np.random.default_rng(0)
    spectra = rng.random((D, C))
    cube = rng.dirichlet(np.ones(D), 601) @ spectra + 0.01 * rng.random((601, C))
    cube[5], cube[6, 2] = 0, np.nan
    return cube.astype(np.float32), spectra


def made(scene, plan="scene 8"):
    """An index with both trees, a masked row, a zero one and one that is not finite."""
    cube, spectra = scene
    index = hud.CosineIndex(cube, endmembers=spectra, mask=np.arange(601) != 4)
    sides = (index._reference, index._inverse, index._mean)
    tree = scene_tree(index._reference[:64], *sides, 1, plan)
    assert tree is not None
    index._trees["scene"] = tree
    return index


@pytest.fixture(scope="module")
def saved(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "good.safetensors"
    made(scene).save(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["header"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return path.parent, header, tensors


def forged(saved, change):
    """The saved index after `change(header, tensors)`, its checksum computed anew."""
    folder, header, tensors = saved
    header, tensors = (
        json.loads(json.dumps(header)),
        {name: value.clone() for name, value in tensors.items()},
    )
    change(header, tensors)
    text = json.dumps(header)
    crc = checksum(text, tensors)
    path = folder / "forged.safetensors"
    save_file(
        tensors, path, {"format": index_format("CosineIndex"), "header": text, "checksum": crc}
    )
    return path


def put(name, value, at=0):
    def change(_, tensors):
        tensors[name].view(-1)[at] = value

    return change


def changed(name, how):
    def change(_, tensors):
        tensors[name] = how(tensors[name]).contiguous()

    return change


def number(value, *keys):
    def change(header, _):
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


def swapped(name):
    def change(_, tensors):
        flat = tensors[name].view(-1)
        flat[0], flat[1] = flat[1].clone(), flat[0].clone()

    return change


FORGERIES = {
    "a row far outside": put("span.row", 2**31 - 1),
    "a row just outside": put("span.row", 601),
    "a negative row": put("scene.row", -1),
    "a row twice": changed("span.row", lambda t: torch.where(t == t[0, 1], t[0, 0], t)),
    "a row that takes no part": put("span.row", 5),
    "a masked row": put("span.row", 4),
    "all rows one": changed("span.row", torch.zeros_like),
    "rows of neighbours swapped": swapped("span.row"),
    "a spare lane that names another row": put("span.row", 0, -1),
    "fewer leaves": changed("span.row", lambda t: t[:-1]),
    "rows of another shape": changed("span.row", lambda t: t.view(-1, 16)),
    "rows that are floats": changed("span.row", torch.Tensor.float),
    "a child far outside": put("span.children", 2**31 - 1),
    "a leaf far outside": put("span.children", -(2**30)),
    "a node its own child": put("span.children", 0),
    "a child that is nobody": put("span.children", -(2**31)),
    "children swapped": swapped("span.children"),
    "no nodes": changed("span.children", lambda t: t[:0]),
    "a box elsewhere": put("span.boxes", 0.5),
    "a box of NaN": put("span.boxes", math.nan),
    "boxes of another shape": changed("span.boxes", lambda t: t[:, 1:]),
    "a key elsewhere": put("span.panels", 0.5),
    "a key of NaN": put("scene.panels", math.nan, 7),
    "keys of another shape": changed("span.panels", lambda t: t[:, :-1]),
    "an infinite offset": put("span.bias", -math.inf),
    "an offset of a spare lane": put("span.bias", 0.0, -1),
    "an axis of length 2": changed("scene.columns", lambda t: 2 * t),
    "an axis of NaN": put("scene.columns", math.nan),
    "no axes": changed("scene.columns", lambda t: t[:, :0]),
    "axes of fewer bands": changed("scene.columns", lambda t: t[1:]),
    "axes without the endmembers": lambda _, t: t.update(
        {"span.columns": torch.eye(C, t["span.columns"].shape[1], dtype=torch.float64)}
    ),
    "a longer shift": changed("span.shift", lambda t: torch.zeros(10**6, dtype=t.dtype)),
    "no shift": changed("span.shift", lambda t: t[:0]),
    "a shift elsewhere": put("span.shift", 1e30),
    "an endmember's length": put("span.lengths", 0.0),
    "endmembers on other axes": put("span.mixed", 0.0),
    "a tensor less": lambda _, t: t.pop("span.bias"),
    "a tensor more": lambda _, t: t.update({"span.more": torch.zeros(3)}),
    "a huge bound of the keys": number(1e18, "trees", "span", "key_norm"),
    "a small bound of the keys": number(0.0, "trees", "span", "key_norm"),
    "a bound of the leaves of NaN": number(math.nan, "trees", "span", "leaf_norm"),
    "a bound that is text": number("1", "trees", "span", "key_norm"),
    "a small distance from the axes": number(0.0, "trees", "scene", "rest_max"),
    "a first row elsewhere": number(10**12, "trees", "span", "first_row"),
    "distances from elsewhere": number(False, "trees", "span", "about_zero"),
    "leaves in all bands": number(True, "trees", "span", "all_bands"),
    "leaves in neither": number(2, "trees", "span", "all_bands"),
    "a tree less": lambda h, _: h["trees"].pop("span"),
    "trees by another name": lambda h, _: h["trees"].update({"other": h["trees"].pop("scene")}),
    "trees in a list": number([], "trees"),
    "an empty header": lambda h, _: h.clear(),
    "a version too many": number(2, "version"),
    "no shape": number(None, "shape"),
    "a shape of other rows": number([600, C], "shape"),
    "a shape of one axis": number([601 * C], "shape"),
    "a shape of text": number(["601", C], "shape"),
    "a limit that is text": number("much", "memory_limit"),
    "a limit below one": number(-1, "memory_limit"),
    "counts of other rows": number(7, "counts", "pixels"),
    "counts of others left out": number(7, "counts", "zero"),
    "counts that are text": number("7", "counts", "masked"),
    "no counts": number({}, "counts"),
    "a mean elsewhere": put("mean", 1e30),
    "a mean of NaN": put("mean", math.nan),
    "a mean of fewer bands": changed("mean", lambda t: t[1:]),
    "a norm elsewhere": put("inverse", 1e3),
    "a norm of a row that has none": put("inverse", 1.0, 5),
    "norms of fewer rows": changed("inverse", lambda t: t[1:]),
    "norms in float32": changed("inverse", torch.Tensor.float),
    "nobody takes part": changed("inverse", torch.zeros_like),
    "another reference": put("reference", 3.0),
    "a reference of whole numbers": changed("reference", torch.Tensor.int),
    "a reference in a row": changed("reference", torch.Tensor.flatten),
    "no reference": lambda _, t: t.pop("reference"),
    "endmembers of NaN": put("endmembers", math.nan),
    "huge endmembers": changed("endmembers", lambda t: t * 2.0**900),
    "no endmembers": lambda _, t: t.pop("endmembers"),
    "other endmembers": swapped("endmembers"),
    "a tensor of bytes": lambda _, t: t.update({"more": torch.zeros(3, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_index_is_refused(saved, change):
    with pytest.raises(ValueError, match=REFUSED):
        hud.CosineIndex.load(forged(saved, change))


@given(data=st.data())
@settings(deadline=None)
def test_what_loads_after_a_change_answers_as_before(saved, scene, data):
    """Any tensor, any place, any value: refused, or the change was within rounding."""
    names = sorted(saved[2])
    name = data.draw(st.sampled_from(names))
    tensor = saved[2][name]
    at = data.draw(st.integers(0, tensor.numel() - 1))
    whole = st.integers(-(2**31), 2**31 - 1)
    value = data.draw(st.floats(width=32) if tensor.is_floating_point() else whole)
    try:
        index = hud.CosineIndex.load(forged(saved, put(name, value, at)))
    except ValueError:
        return
    query = scene[0][:40]
    got, expected = index.search(query), made(scene).search(query)
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("plan", ["scene 8", "bands"])
def test_an_index_saved_on_one_level_loads_on_another(scene, tmp_path, plan):
    path = tmp_path / "index.safetensors"
    expected = None
    for level in isa.LEVELS:
        with isa.running(level):
            made(scene, plan).save(path)
        for other in isa.LEVELS:
            with isa.running(other):
                rows = hud.CosineIndex.load(path).search(scene[0])[1]
            expected = rows if expected is None else expected
            np.testing.assert_array_equal(rows, expected)
