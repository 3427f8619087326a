"""Small whole files of every kind that the package reads, made anew: what the mutator starts from."""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import torch
from scipy.io import savemat

import hud_fast as hud
from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.diffusion.classes import ClassMaps
from hud_fast.diffusion.joint import JointLatent
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import PRESETS
from hud_fast.diffusion.residuals import Residuals
from hud_fast.diffusion.scene_facts import SceneFacts

Files: TypeAlias = dict[str, bytes]

rng = np.random.default_rng(0)
CUBE = (rng.dirichlet(np.ones(3), (5, 6)) @ rng.random((3, 4)) * 1000).astype(
    np.uint16
)  # (H, W, C)
CENTRES = np.array([450.0, 550.0, 650.0, 850.0])
MASK = np.ones(CUBE.shape[:2], bool)
LABELS = np.arange(30, dtype=np.uint8).reshape(5, 6) % 3
SIDE: dict[str, Any] = {"wavelengths": CENTRES, "bbl": np.array([1, 1, 0, 1]), "labels": LABELS}


def files_of(write: Callable[[Path], object]) -> Files:
    """What `write` writes into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def mat(**options: Any) -> list[Files]:
    """v4 or v5: a cube with what belongs to it, a matrix of pixels, odd things."""
    pixels = {"Y": CUBE.reshape(-1, 4).T.astype(float), "nRow": 5.0, "nCol": 6.0}
    if options.get("format") == "4":
        variables = [pixels, {"map": LABELS.astype(float), **pixels}]
    else:
        odd = {"s": {"a": np.eye(2)}, "c": np.array(["x", 1.5], object), "t": "text"}
        variables = [{"cube": CUBE, **SIDE}, pixels, {"cube": CUBE.astype(float), **odd}]
    return [files_of(lambda f, v=v: savemat(f / "scene.mat", v, **options)) for v in variables]


def compress(data: bytes) -> bytes:
    """The elements of a v5 file, each deflated, as savemat(do_compression=True) does."""
    out, at = bytearray(data[:128]), 128
    while at + 8 <= len(data):
        size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        packed = zlib.compress(data[at : at + size])
        out += (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed
        at += size
    return bytes(out)


def v73(outside: Path, **options: Any) -> list[Files]:
    """MATLAB's v7.3 as the package writes it, another program's HDF5, and links that lead elsewhere."""

    def ours(folder: Path) -> None:
        with h5py.File(folder / "scene.mat", "w", libver=options.pop("libver", None)) as file:
            for name, value in {"cube": CUBE, **SIDE}.items():
                data = file.create_dataset(
                    name, data=value.T, **(options if value.ndim > 2 else {})
                )
                data.attrs["MATLAB_class"] = np.bytes_(value.dtype.name)

    def foreign(folder: Path) -> None:
        with h5py.File(folder / "scene.mat", "w") as file:
            file["cube"] = CUBE.astype(">f4")
            file["group/inside"] = LABELS
            file["soft"] = h5py.SoftLink("/group/inside")

    def hostile(folder: Path) -> None:
        canary = str(outside / "canary.bin")
        with h5py.File(folder / "scene.mat", "w") as file:
            file["wavelengths"] = CENTRES
            file["hidden"] = h5py.ExternalLink(str(outside / "canary.h5"), "/cube")
            file["dangling"] = h5py.SoftLink("/nowhere")
            file["type"] = np.dtype("<f8")
            file.create_dataset("cube", CUBE.shape, "u2", external=[(canary, 0, CUBE.nbytes)])

    def virtual(folder: Path) -> None:
        layout = h5py.VirtualLayout(CUBE.shape, "u2")
        layout[:] = h5py.VirtualSource(str(outside / "canary.h5"), "cube", CUBE.shape)
        with h5py.File(folder / "scene.mat", "w") as file:
            file.create_virtual_dataset("cube", layout)

    return [files_of(write) for write in (ours, foreign, hostile, virtual)]


def envi() -> list[Files]:
    scene = hud.Scene(CUBE.astype(np.float32), wavelengths=CENTRES, good_bands=SIDE["bbl"] > 0)
    scene = scene.replace(geo={"map info": "{UTM, 1, 1, 5e5, 4e6, 30, 30, 33, North, WGS-84}"})
    return [
        files_of(lambda f, i=i, t=t: hud.save_scene(scene, f / "scene.hdr", dtype=t, interleave=i))
        for t, i in (("u2", "bsq"), ("f4", "bil"), (">f8", "bip"))
    ]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asanyarray(array), allow_pickle=True)
    return file.getvalue()


def npz_ours() -> list[Files]:
    scene = hud.simulate_scene(6, 5, C=4, D=2, seed=0).replace(labels=LABELS.reshape(6, 5))
    whole = files_of(lambda f: hud.save_scene(scene, f / "scene.npz"))["scene.npz"]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    facts = str(np.load(io.BytesIO(parts.pop("facts.npy")), allow_pickle=False))
    return [{**parts, "facts.json": facts.encode()}]


def pack_zip(parts: Files) -> Files:
    """An .npz of these arrays, with right checksums; `facts.json` becomes the array that it lies in."""
    file = io.BytesIO()
    kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[len(next(iter(parts.values()))) % 2]
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in parts.items():
            if name == "facts.json":
                name, data = "facts.npy", npy(np.array(data.decode("utf-8", "replace")))
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return {"scene.npz": file.getvalue()}


@functools.cache
def model(trains: bool) -> hud.HUD:
    """A model with a network, or one that lays patches of its scene; tiny, untrained."""
    from hud_fast.diffusion.patches import Patches

    small = {"attention": (False, False), "groups": 1, "crop": 4, "batch": 1, "T": 4}
    preset = replace(
        PRESETS["tiny" if trains else "instant"], widths=(2, 2), sampler_steps=2, **small
    )
    preset = replace(preset, patches="no", steps=1) if trains else preset
    own = np.random.default_rng(1)
    ends = own.random((3, 4)).astype(np.float32)
    maps = torch.from_numpy(own.dirichlet(np.ones(3), (13, 13))).float()
    weights = torch.zeros(4)  # of the windows in 13 x 13 pixels
    torch.manual_seed(0)
    return hud.HUD(
        network=build_network(preset, 3) if trains else None,
        latent=LatentSpace(torch.zeros(3), torch.ones(3), False),
        endmembers=ends,
        abundances=maps.numpy(),
        preset=preset,
        seed=0,
        encoder="fcls",
        scene=SceneFacts(
            name="field", wavelengths=CENTRES, scale=1.0, rgb_bands=(2, 1, 0), simulated=True
        ),
        unmixing={},
        history=[],
        patches=None if trains else Patches.of(maps, ends, seed=0, log_weights=weights),
    )


@functools.cache
def labelled(trains: bool) -> hud.HUD:
    """`model` with two classes, and with what mixing leaves of its scene."""
    plain, own = model(trains), np.random.default_rng(2)
    shares = own.dirichlet(np.ones(2), (13, 13)).astype(np.float32)
    labels = own.choice(np.int32([0, 1, 4]), (13, 13))
    left = own.normal(0, 0.01, (13, 13, 4)).astype(np.float32)
    latent = JointLatent(plain.latent, LatentSpace(torch.zeros(2), torch.ones(2), False), 0.05)
    torch.manual_seed(0)
    return replace(
        plain,
        network=build_network(plain.preset, 3, K=2) if trains else None,
        latent=latent,
        classes=ClassMaps((1, 4), ("corn", "soil"), labels, torch.from_numpy(shares)),
        patches=plain.patches and plain.patches.with_classes(torch.from_numpy(shares)),
        residuals=Residuals(left, plain.abundances, plain.endmembers, shares),
    )


def models() -> list[Files]:
    made = [of(trains) for of in (model, labelled) for trains in (True, False)]
    return [files_of(lambda f, m=m: m.save(f / "model")) for m in made]


def abundance_models() -> list[Files]:
    start = hud.AbundanceModel.of(model(True))
    return [files_of(lambda f: start.save(f / "model"))]


def checkpoints() -> list[Files]:
    def write(folder: Path) -> None:
        store = CheckpointFolder(folder / "checkpoints")
        for step in (1, 2):
            tensors = {"weight": torch.ones(2, 3), "count": torch.tensor(step)}
            store.save(step, tensors, {"step": step})

    return [files_of(write)]


def indices() -> list[Files]:
    ends = rng.random((3, 4))
    scene = rng.dirichlet(np.ones(3), 80) @ ends
    made = hud.CosineIndex(scene, endmembers=ends)
    return [files_of(lambda f: made.save(f / "scene.index"))]


def split_tensors(data: bytes) -> tuple[dict[str, str], dict[str, Any], bytes]:
    """A safetensors file's metadata, its table of tensors, and their bytes."""
    size = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + size])
    return table.pop("__metadata__", {}), table, data[8 + size :]


def join_tensors(metadata: Any, table: Any, values: bytes) -> bytes:
    whole = {**table, "__metadata__": metadata} if isinstance(table, dict) else table
    text = json.dumps(whole).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + values
