"""What comes from elsewhere: no code from a file is ever run, and every dependency has a bound at both ends."""

from __future__ import annotations

import ast
import io
import re
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hud_fast as hud
from hud_fast.pipeline.cubes import read_cubes

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(hud.__file__).parent
# Between the processes of one training: messages, never files.
MESSAGES = {"diffusion/processes.py": {"pickle"}}
RUN_CODE = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "pty",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "os.system",
    "os.popen",
    "pandas.read_pickle",
}


def sources() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def suspects(tree: ast.AST) -> Iterator[str]:
    """Imports and calls by which a file's content could become code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ({alias.name.split(".")[0] for alias in node.names} & RUN_CODE)
        elif isinstance(node, ast.ImportFrom):
            yield from ({(node.module or "").split(".")[0]} & RUN_CODE)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in CALLS or given.get("shell") == "True":
                yield name
            if given.get("allow_pickle", "False") != "False":
                yield "allow_pickle"


@pytest.mark.parametrize("source", sources())
def test_no_source_runs_a_file(source: str) -> None:
    found = set(suspects(ast.parse((PACKAGE / source).read_text(encoding="utf-8"))))
    assert found == MESSAGES.get(source, set())


class Hostile:
    """Unpickled, it says so: by a name that the audit hears as well."""

    ran = False

    def __reduce__(self) -> Any:
        return setattr, (Hostile, "ran", True)


def objects() -> bytes:
    """A .npy file of an object array, which NumPy writes as a pickle."""
    file = io.BytesIO()
    np.save(file, np.array([[[Hostile()]]], dtype=object), allow_pickle=True)
    return file.getvalue()


def npz(**arrays: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def plain(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


CUBE = np.ones((4, 5, 6), np.float32)
LOADS: dict[str, tuple[dict[str, bytes], Callable[[Path], object]]] = {
    "npy": ({"a.npy": objects()}, lambda f: hud.load_scene(f / "a.npy")),
    "npz": ({"a.npz": npz(cube=objects())}, lambda f: hud.load_scene(f / "a.npz")),
    "npz beside a good cube": (
        {"a.npz": npz(cube=plain(CUBE), mask=objects(), wavelengths=objects())},
        lambda f: hud.load_scene(f / "a.npz", variable="mask"),
    ),
    "our npz": (
        {"a.npz": npz(hud_fast_scene=plain(1), facts=objects(), cube=plain(CUBE))},
        lambda f: hud.load_scene(f / "a.npz"),
    ),
    "side file": (
        {"a.npy": plain(CUBE), "b.npy": objects()},
        lambda f: hud.load_scene(f / "a.npy", mask=f / "b.npy"),
    ),
    "cubes": ({"generated.npy": objects()}, lambda f: read_cubes(f)),
    "an index that is a torch file": ({"a": b"torch"}, lambda f: hud.CosineIndex.load(f / "a")),
    "windows that are a torch file": ({"a": b"torch"}, lambda f: hud.WindowIndex.load(f / "a")),
    "a model that is a torch file": (
        {"m/config.json": b"torch", "m/network.safetensors": b"torch", "m/network.pt": b"torch"},
        lambda f: hud.HUD.load(f / "m"),
    ),
}


@pytest.mark.parametrize("kind", LOADS)
def test_a_hostile_file_runs_nothing(kind: str, tmp_path: Path) -> None:
    files, load = LOADS[kind]
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        if data == b"torch":
            torch.save(Hostile(), path)
    with pytest.raises((OSError, ValueError, TypeError)):
        load(tmp_path)
    assert not Hostile.ran


def test_the_hostile_files_would_run_where_they_are_unpickled() -> None:
    np.load(io.BytesIO(objects()), allow_pickle=True)
    assert Hostile.ran
    Hostile.ran = False


def test_a_torch_file_beside_a_model_is_left_alone(tmp_path: Path) -> None:
    hud.CosineIndex(np.eye(3)).save(tmp_path / "index")
    torch.save(Hostile(), tmp_path / "index.pt")
    hud.CosineIndex.load(tmp_path / "index")
    assert not Hostile.ran


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["gpu"], *extras["demo"], *extras["zarr"]]


@pytest.mark.parametrize("requirement", requirements())
def test_a_dependency_has_two_bounds(requirement: str) -> None:
    """What is outside of them no job here has tried (.ci/lowest the lower one, .ci/run the upper)."""
    assert re.match(r"[\w-]+>=[\d.]+,<[\d.]+( ;|$)", requirement), requirement
