"""WindowIndex: the answers of every window, from one preparation; kept, copied, saved, asked by many threads."""

from __future__ import annotations

import json
import os
import pickle
import threading

import numpy as np
import oracles
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import hud_fast as hud
from hud_fast.kernels._index_file import checksum, index_format

D, C = 3, 10
REFUSED = r"WindowIndex.load: `path` must be a file that WindowIndex.save wrote, got .*: "


@pytest.fixture(scope="module")
def world():
    """A scene with a masked, a zero and a non-finite pixel, endmembers, abundances of blocks, a mask."""
    rng = np.random.default_rng(0)
    spectra = rng.random((D, C))
    scene = rng.dirichlet(np.ones(D), (18, 20)) @ spectra + 0.02 * rng.random((18, 20, C))
    scene[2, 3], scene[9, 9, 1] = 0, np.nan
    mask = np.ones((18, 20), bool)
    mask[14, 15] = False
    return scene.astype(np.float32), spectra, rng.dirichlet(np.ones(D), (20, 4, 5)), mask


def made(world, **options):
    scene, spectra, _, mask = world
    return hud.WindowIndex(scene, (4, 5), **{"endmembers": spectra, "mask": mask, **options})


@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("spans", [True, False])
def test_answers_as_every_window_does(world, norm, spans):
    """Mixtures, blocks off their span, zero and non-finite ones in one call."""
    scene, spectra, shares, mask = world
    index = made(world, norm=norm, stride=2, **({} if spans else {"endmembers": None}))
    blocks = shares @ spectra
    blocks[3] = np.random.default_rng(1).random((4, 5, C))
    blocks[5] = 0
    expected, at = oracles.window_search(blocks, scene.astype(float), 2, norm, mask)
    blocks[7, 1, 1, 2] = np.inf
    value, position = index.search(blocks)
    rest = np.arange(20) != 7
    np.testing.assert_allclose(value[rest], expected[rest], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(position[rest], at[rest])
    assert np.isnan(value[7])
    assert position[7].tolist() == [-1, -1]
    assert index.counts == {"pixels": 360, "masked": 1, "nonfinite": 1, "zero": 1}
    assert index.search(blocks[:0])[1].shape == (0, 2)
    if spans:
        short, place = index.search_mixtures(torch.from_numpy(shares))
        kept = [b for b in range(20) if b not in (3, 5, 7)]
        np.testing.assert_allclose(short[kept], value[kept], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(place[kept], position[kept])
        assert index.search_mixtures(shares[:0])[0].shape == (0,)


def test_the_metrics_ask_an_index(world):
    scene, spectra, shares, mask = world
    index = made(world)
    mixtures = hud.Mixtures(shares, spectra)
    for generated in (mixtures, shares @ spectra, (shares @ spectra).astype(np.float32)):
        known = hud.block_diversity(generated, scene, mask=mask, return_details=True)
        found = hud.block_diversity(generated, index, return_details=True)
        assert found.value == known.value
        np.testing.assert_array_equal(found.similarity, known.similarity)
        np.testing.assert_array_equal(found.position, known.position)
        assert found.to_dict() == known.to_dict()
        checks = [
            hud.copy_check(generated, real, count=6, **options).to_dict()
            for real, options in ((scene, {"mask": mask}), (index, {}))
        ]
        assert checks[0] == checks[1]


def test_it_is_made_ready_once(world, monkeypatch):
    from hud_fast.kernels.windows import host

    index = made(world)
    ready = []
    monkeypatch.setattr(host.WindowScene, "_make_ready", lambda self: ready.append(self))
    _, spectra, shares, _ = world
    for generated in (hud.Mixtures(shares, spectra), shares @ spectra):
        hud.block_diversity(generated, index)
        hud.copy_check(generated, index, count=6)
    index.search_mixtures(shares)
    assert ready == []


def test_a_command_makes_a_scene_ready_once(world, monkeypatch):
    """Once for block diversity and the copy check, once for each half."""
    from hud_fast.kernels.windows import host

    scene, spectra, shares, mask = world
    whole = []
    make = host.WindowScene._make_ready
    monkeypatch.setattr(
        host.WindowScene,
        "_make_ready",
        lambda self: (whole.append(self.scene.shape[:2]), make(self)),
    )
    hud.evaluate((shares @ spectra).astype(np.float32), scene, mask=mask, count=6)
    assert whole.count((18, 20)) <= 2  # jittered copies may ask in all bands
    assert len(whole) <= 4


def test_pickled_saved_and_loaded(world, tmp_path):
    index, (_, _, shares, _) = made(world, stride=3, norm="block"), world
    known = index.search_mixtures(shares)
    path = tmp_path / os.fsdecode(b"sc\xff\xe4ne.index")  # no UTF-8
    index.save(path)
    for again in (pickle.loads(pickle.dumps(index)), hud.WindowIndex.load(path)):
        found = again.search_mixtures(shares)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in known]
        assert repr(again) == repr(index)
        assert (
            repr(index) == "WindowIndex(18 x 20 pixels of 10 bands, blocks of 4 x 5, 3 endmembers)"
        )
        assert (again.counts, again.stride, again.norm) == (index.counts, 3, "block")


def test_many_threads_ask(world):
    index, (_, spectra, shares, _) = made(world), world
    known, found = index.search(shares @ spectra), {}

    def ask(number):
        found[number] = index.search(shares @ spectra)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found.values():
        assert [a.tobytes() for a in one] == [a.tobytes() for a in known]
    assert len(found) == 4


@pytest.fixture(scope="module")
def saved(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "good"
    made(world).save(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["header"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return path.parent, header, tensors


def put(name, value):
    def change(header, tensors):
        (header if name in header else tensors)[name] = value(tensors)

    return change


FORGED = {
    "another version": put("version", lambda _: 2),
    "a block of no size": put("block", lambda _: [0, 4]),
    "a block that does not fit": put("block", lambda _: [4, 21]),
    "a block in words": put("block", lambda _: "44"),
    "one side of a block": put("block", lambda _: [4]),
    "no step": put("stride", lambda _: 0),
    "a step that is no int": put("stride", lambda _: 1.5),
    "another norm": put("norm", lambda _: "pixels"),
    "a norm that is a list": put("norm", lambda _: ["pixel"]),
    "counts that do not fit": put(
        "counts", lambda _: {"pixels": 360, "masked": 3, "nonfinite": 1, "zero": 1}
    ),
    "fewer counts": put("counts", lambda _: {"pixels": 360}),
    "counts below zero": put(
        "counts", lambda _: {"pixels": 360, "masked": 3, "nonfinite": -1, "zero": 1}
    ),
    "a scene of NaN": put("scene", lambda t: t["scene"] * torch.nan),
    "a left-out pixel with values": put("scene", lambda t: t["scene"] + 1),
    "a flat scene": put("scene", lambda t: t["scene"].flatten(0, 1)),
    "a scene of bytes": put("scene", lambda t: t["scene"].to(torch.uint8)),
    "no scene": put("scene", lambda t: t["scene"][:, :0]),
    "a mask of another shape": put("valid", lambda t: t["valid"][1:].contiguous()),
    "a mask that is more than yes or no": put("valid", lambda t: 2 * t["valid"]),
    "nothing valid": put("valid", lambda t: 0 * t["valid"]),
    "endmembers of other bands": put("endmembers", lambda t: t["endmembers"][:, 1:].contiguous()),
    "endmembers of NaN": put("endmembers", lambda t: t["endmembers"] * torch.nan),
    "huge endmembers": put("endmembers", lambda t: t["endmembers"] * 1e300),
    "float32 endmembers": put("endmembers", lambda t: t["endmembers"].float()),
    "a tensor more": put("more", lambda t: t["valid"] + 0),
    "a tensor of another dtype": put("valid", lambda t: t["valid"].long()),
}


def write(saved, header, tensors, crc=None):
    path, text = saved[0] / "forged", json.dumps(header)
    about = {"header": text, "checksum": crc or checksum(text, tensors)}
    save_file(tensors, path, {"format": index_format("WindowIndex"), **about})
    return path


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_index_is_refused(saved, change):
    header, tensors = json.loads(json.dumps(saved[1])), dict(saved[2])
    change(header, tensors)
    with pytest.raises(ValueError, match=REFUSED):
        hud.WindowIndex.load(write(saved, header, tensors))


def test_damaged_and_other_files_are_refused(saved, tmp_path):
    assert hud.WindowIndex.load(write(saved, *saved[1:])).block == (4, 5)
    with pytest.raises(ValueError, match=REFUSED + "its checksum does not fit its content"):
        hud.WindowIndex.load(write(saved, *saved[1:], crc="00000000"))
    hud.CosineIndex(np.eye(3)).save(tmp_path / "other")
    with pytest.raises(ValueError, match=REFUSED + "it was written by something else"):
        hud.WindowIndex.load(tmp_path / "other")
    (tmp_path / "text").write_text("no index")
    with pytest.raises(ValueError, match=REFUSED + "it is damaged or no such file"):
        hud.WindowIndex.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        hud.WindowIndex.load(tmp_path / "none")
    with pytest.raises(TypeError, match=r"WindowIndex\.load: `path` must be a path, got int"):
        hud.WindowIndex.load(3)


def test_errors(world):
    scene, spectra, shares, mask = world
    index = made(world)
    blocks = shares @ spectra
    for call, match in (
        (lambda: hud.WindowIndex(scene[0], 2), r"WindowIndex: `scene` must have shape \(H, W, C\)"),
        (
            lambda: hud.WindowIndex(scene, 19),
            "WindowIndex: `block` must fit into the scene's 18 x 20",
        ),
        (lambda: hud.WindowIndex(scene, 0), "WindowIndex: `block` must be at least 1"),
        (lambda: hud.WindowIndex(scene, 2, stride=0), "WindowIndex: `stride` must be at least 1"),
        (lambda: hud.WindowIndex(scene, 2, norm="mean"), "WindowIndex: `norm` must be"),
        (lambda: hud.WindowIndex(scene, 18), "WindowIndex: `scene` must have a window of 18 x 18"),
        (
            lambda: hud.WindowIndex(scene, 2, endmembers=spectra[:, 1:]),
            r"WindowIndex: `endmembers` must have shape \(D, C\) with C = 10 as in `scene`",
        ),
        (
            lambda: index.search(blocks[:, :3]),
            r"`blocks` must have shape \(B, 4, 5, C\) with C = 10",
        ),
        (
            lambda: index.search_mixtures(blocks),
            r"`abundances` must have shape \(B, 4, 5, D\) with D = 3",
        ),
        (
            lambda: made(world, endmembers=None).search_mixtures(shares),
            "the index must have been built with `endmembers`",
        ),
        (
            lambda: hud.block_diversity(blocks, index, mask=mask),
            "`mask` must be None where `real` is",
        ),
        (
            lambda: hud.block_diversity(blocks, index, stride=2),
            "with stride = 2 and norm = 'pixel', got 1",
        ),
        (
            lambda: hud.block_diversity(blocks, index, block=3),
            "for blocks of 3 x 3 pixels, got one for 4 x 5",
        ),
        (
            lambda: hud.block_diversity(blocks[..., 1:], index),
            "`generated` must have the C = 10 bands",
        ),
        (
            lambda: hud.block_diversity(blocks, index, scale="paper", full_scale=1.0),
            '`real` must hold spectra with scale="paper", got a WindowIndex',
        ),
        (
            lambda: hud.copy_check(blocks, made(world, norm="block")),
            "and norm = 'pixel', got 1 and 'block'",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match="WindowIndex: `mask` must be"):
        hud.WindowIndex(scene, 2, mask=mask * 1)
