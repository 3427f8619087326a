"""Everything that reads a file of a stranger: from what the mutator starts, what is called, what a result must be."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from random import Random

import numpy as np
import torch
from fuzz import seeds
from fuzz.guard import CANARY, Wrong
from fuzz.mutate import mutate
from fuzz.seeds import Files
from safetensors.torch import load as load_tensors

import hud_fast as hud
from hud_fast.diffusion.checkpoint import CheckpointFolder, DamagedFileError, digest_of
from hud_fast.diffusion.folders import _digest
from hud_fast.kernels._index_file import checksum
from hud_fast.pipeline.errors import one_line


@dataclass(frozen=True)
class FileTarget:
    """A reader, and how to make inputs for it: parts of seeds are changed before they are wrapped, or after."""

    name: str
    make: Callable[[], Sequence[Files]]
    call: Callable[[Path], object]
    share: float  # of all inputs, in parts of a thousand
    wrap: Callable[[Files], Files] = field(default=lambda files: files)
    after: float = 0.3  # probability that the wrapped files are changed, not the parts

    @cached_property
    def seeds(self) -> Sequence[Files]:
        return self.make()

    def good(self) -> list[Files]:
        """The seeds as they are."""
        return [self.wrap(dict(files)) for files in self.seeds]

    def draw(self, rng: Random) -> Files:
        """One input."""
        parts, other = dict(rng.choice(self.seeds)), rng.choice(self.seeds)
        late = rng.random() < self.after
        files = self.wrap(parts) if late else parts
        for _ in range(rng.choice((1, 1, 1, 2))):
            name = rng.choice([name for name in files if not name.endswith("/metadata")])
            files[name] = mutate(name, files[name], rng, other.get(name, b""))
        return files if late else self.wrap(files)

    def run(self, files: Files, folder: Path) -> object:
        """Lay the input into the folder, which has none of it, and call the reader when asked to."""
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return partial(self.call, folder)


def whole_scene(scene: hud.Scene) -> None:
    """What every scene is, whatever its file held."""
    H, W, C = scene.cube.shape
    sizes = {
        "wavelengths": (C,),
        "fwhm": (C,),
        "good_bands": (C,),
        "mask": (H, W),
        "labels": (H, W),
    }
    for name, shape in sizes.items():
        value = getattr(scene, name)
        if value is not None and value.shape != shape:
            raise Wrong(f"{name} of shape {value.shape} beside a cube of {scene.cube.shape}")
    if scene.cube.dtype != np.float32 or not scene.valid.any():
        raise Wrong("no valid pixel of float32")
    said = one_line(ValueError(repr(scene)))
    if not said.isprintable():
        raise Wrong(f"control characters in {said!r}")
    if CANARY in scene.cube.astype(np.uint8, copy=False).tobytes():
        raise Wrong("bytes of a file outside")


def load(folder: Path, suffix: str, **options: object) -> None:
    whole_scene(hud.load_scene(folder / f"scene{suffix}", **options))


def load_side(folder: Path) -> None:
    """A good cube with one piece of side information in a file."""
    (path,) = [p for p in folder.iterdir() if p.stem != "scene"]
    whole_scene(hud.load_scene(folder / "scene.npy", **{path.stem: path}))


def side_files() -> list[Files]:
    flags, text = seeds.SIDE["bbl"], "450, 550\n650\n850\n"
    cases: list[Files] = [
        {"wavelengths.txt": text.replace(",", "\n").encode()},
        {"good_bands.txt": b"1 1 0 1\n"},
        {"mask.txt": b"\n".join([b"1 1 1 0 1 1"] * 5)},
        {"mask.npy": seeds.npy(seeds.MASK)},
        {"wavelengths.npy": seeds.npy(seeds.CENTRES)},
        {"labels.npy": seeds.npy(seeds.LABELS)},
        {"good_bands.npy": seeds.npy(flags.astype(object))},
        {"labels.mat": seeds.mat()[0]["scene.mat"]},
    ]
    return [{**case, "scene.npy": seeds.npy(seeds.CUBE)} for case in cases]


def forged(files: Files) -> Files:
    """A saved model whose checksums fit again: what is behind them must stand on its own."""
    out = dict(files)
    for name, data in files.items():
        if name.endswith(".safetensors"):
            out[name] = signed(data)
        elif name.endswith("config.json"):
            try:
                config = json.loads(data)
                config.pop("sha256", None)
                out[name] = json.dumps({**config, "sha256": _digest(config)}).encode()
            except (ValueError, AttributeError, TypeError):
                pass
    return out


def signed(data: bytes) -> bytes:
    """A tensor file with its checksum made anew, where it can still be parsed."""
    try:
        metadata, table, values = seeds.split_tensors(data)
        tensors = load_tensors(data)
        metadata["sha256"] = digest_of(tensors, metadata.get("record", ""))
    except Exception:
        return data
    return seeds.join_tensors(metadata, table, values)


def apart(files: Files) -> Files:
    """Tensor files in pieces that can be changed one by one, so that lengths and offsets still fit."""
    out: Files = {}
    for name, data in files.items():
        if not name.endswith((".safetensors", ".index")):
            out[name] = data
            continue
        metadata, table, values = seeds.split_tensors(data)
        for key in ("record", "header"):
            if key in metadata:
                out[f"{name}/{key}.json"] = metadata.pop(key).encode()
        out[f"{name}/table.json"] = json.dumps(table).encode()
        out[f"{name}/values"] = values
        out[f"{name}/metadata"] = json.dumps(metadata).encode()
    return out


def in_parts(make: Callable[[], list[Files]]) -> Callable[[], list[Files]]:
    return lambda: [apart(files) for files in make()]


def together(parts: Files) -> Files:
    out = {name: data for name, data in parts.items() if name.count("/") < 1 or "config" in name}
    for name in {n.rpartition("/")[0] for n in parts if n.endswith("/values")}:
        metadata = json.loads(parts[f"{name}/metadata"])
        for key in ("record", "header"):
            if f"{name}/{key}.json" in parts:
                metadata[key] = parts[f"{name}/{key}.json"].decode("utf-8", "replace")
        try:
            table = json.loads(parts[f"{name}/table.json"])
        except ValueError:
            table = parts[f"{name}/table.json"].decode("utf-8", "replace")
        out[name] = seeds.join_tensors(metadata, table, parts[f"{name}/values"])
    return out


def forged_index(parts: Files) -> Files:
    files = together(parts)
    try:
        metadata, table, values = seeds.split_tensors(files["scene.index"])
        metadata["checksum"] = checksum(metadata["header"], load_tensors(files["scene.index"]))
    except Exception:
        return files
    return {"scene.index": seeds.join_tensors(metadata, table, values)}


def load_model(folder: Path) -> None:
    model = hud.HUD.load(folder / "model", device="cpu")
    known = model.classes is not None
    rough = model.residuals is not None
    steps = None if model.network is None else 1
    made = model.sample(1, size=12, steps=steps, classes=known, residuals=rough)
    cube = made[0] if known else made
    if cube.shape != (1, 12, 12, model.C) or not np.isfinite(cube).all():
        raise Wrong(f"a cube of shape {cube.shape} with values that are not finite")


def load_abundance_model(folder: Path) -> None:
    model = hud.AbundanceModel.load(folder / "model")
    if not all(value.isfinite().all() for value in model.weights.values()):
        raise Wrong("weights that are not finite")


def load_checkpoint(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            CheckpointFolder(folder / "checkpoints").newest()
        except UserWarning as passed_over:
            raise DamagedFileError(f"HUD.fit: {passed_over}") from None


def load_index(folder: Path) -> None:
    index = hud.CosineIndex.load(folder / "scene.index")
    if index.shape[-1] > 1000:
        raise Wrong(f"an index of shape {index.shape}")
    queries = np.random.default_rng(0).random((70, index.shape[-1]))
    found = [index.search(queries)]
    if index.endmembers is not None:
        found.append(index.search_mixtures(torch.rand(70, len(index.endmembers))))
    for value, row in found:
        value, row = np.asarray(value), np.asarray(row)
        if not ((row >= -1) & (row < len(index))).all() or not (np.abs(value) <= 1 + 1e-12).all():
            raise Wrong("a row that is not there, or no cosine")


def file_targets(outside: Path) -> list[FileTarget]:
    """All of them; `outside` is a folder of canaries that hostile seeds point to."""
    load_mat, load_npz = partial(load, suffix=".mat"), partial(load, suffix=".npz")
    load_npy, load_envi = partial(load, suffix=".npy"), partial(load, suffix=".hdr")
    foreign = {"cube.npy": seeds.npy(seeds.CUBE), "wl.npy": seeds.npy(seeds.CENTRES)}
    objects = {**foreign, "mask.npy": seeds.npy(seeds.MASK.astype(object))}
    chunks = {"compression": "gzip", "chunks": (2, 3, 5)}

    def packed_mat(files: Files) -> Files:
        return {"scene.mat": seeds.compress(files["scene.mat"])}

    return [
        FileTarget("mat v4", lambda: seeds.mat(format="4"), load_mat, 30),
        FileTarget("mat v5", seeds.mat, load_mat, 100),
        FileTarget("mat v5 compressed", seeds.mat, load_mat, 100, wrap=packed_mat),
        FileTarget("mat v7.3", lambda: seeds.v73(outside), load_mat, 15),
        FileTarget("mat v7.3 gzip", lambda: seeds.v73(outside, **chunks)[:1], load_mat, 12),
        FileTarget("mat v7.3 latest", lambda: seeds.v73(outside, libver="latest")[:1], load_mat, 12),
        FileTarget("ENVI", seeds.envi, load_envi, 120),
        FileTarget("npy", lambda: [{"scene.npy": seeds.npy(a)} for a in arrays()], load_npy, 120),
        FileTarget("npz, ours", seeds.npz_ours, load_npz, 60, wrap=seeds.pack_zip),
        FileTarget("npz, foreign", lambda: [foreign, objects], load_npz, 70, wrap=seeds.pack_zip),
        FileTarget("side files", side_files, load_side, 80),
        FileTarget("model", seeds.models, load_model, 10),
        FileTarget("abundance model", seeds.abundance_models, load_abundance_model, 10),
        FileTarget("checkpoint", seeds.checkpoints, load_checkpoint, 40),
        FileTarget("index", seeds.indices, load_index, 30),
        FileTarget(
            "model, forged", in_parts(seeds.models), load_model, 5,
            wrap=lambda files: forged(together(files)), after=0.1,
        ),
        FileTarget(
            "abundance model, forged", in_parts(seeds.abundance_models), load_abundance_model, 5,
            wrap=lambda files: forged(together(files)), after=0.1,
        ),
        FileTarget(
            "checkpoint, forged", in_parts(seeds.checkpoints), load_checkpoint, 20,
            wrap=lambda files: forged(together(files)), after=0.1,
        ),
        FileTarget(
            "index, forged", in_parts(seeds.indices), load_index, 30, wrap=forged_index, after=0.0
        ),
    ]  # fmt: skip


def arrays() -> list[np.ndarray]:
    """Cubes in either order, and an object array: its pickle must stay closed."""
    return [seeds.CUBE, np.asfortranarray(seeds.CUBE.astype(">f4")), seeds.CUBE.astype(object)]
