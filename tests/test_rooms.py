"""Rooms import from rooms to their left, by public names: read from the sources, nothing is run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hud_fast"
ROOMS = [
    "kernels",
    "scenes",
    "unmixing",
    "diffusion",
    "baselines",
    "metrics",
    "report",
    "pipeline",
    "comparison",
    "augmentation",
    "bench",
    "cli",
]
SHARED = {  # of no room: every room may use them
    *("_checks", "_cores", "_files", "_limits", "_pool", "_text", "_torch_state", "_torchrun"),
    "__version__",
}

# Modules at the top that are doors to a room: what they import counts as the room's.
DOORS = {"xarray": "unmixing"}

# Private names that are still used across rooms; the list only gets shorter. What times or launches one way of an
# operation needs that way: those stay.
KNOWN = {
    "bench": "kernels.cosine.device kernels.cosine.host kernels.cosine.launch kernels.fcls.device",
    "benchmarks": "kernels.cosine.device kernels.cosine.launch kernels.fcls.device "
    "kernels.triton.resources kernels.windows.device",
}


def room_of(path: Path) -> str:
    """The room that a file lies in; the command line's modules lie at the top of the package."""
    parts = path.relative_to(ROOT).parts
    if parts[0] != "hud_fast":
        return parts[0]
    if len(parts) > 2:
        return parts[1]
    return "shared" if path.stem in {*SHARED, "__init__"} else DOORS.get(path.stem, "cli")


def imported(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and parts, without the package's own, of every name that a file takes from the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *parts = name.split(".")
            if package == "hud_fast" and parts:
                yield node.lineno, parts


def across(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Where, the other room and the name, of what a file takes from another room."""
    for line, parts in imported(path):
        room = parts[0] if (PACKAGE / parts[0]).is_dir() else "cli"
        is_module = (PACKAGE / f"{parts[0]}.py").exists()
        if parts[0] in SHARED or room == room_of(path) or (room == "cli" and not is_module):
            continue  # `from hud_fast import fcls` takes a public name of the package
        yield f"{path.relative_to(ROOT)}:{line} {'.'.join(parts)}", room, parts


FILES = sorted(path for folder in (PACKAGE, ROOT / "benchmarks") for path in folder.rglob("*.py"))


def test_every_folder_of_the_package_is_a_room_of_the_list() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(ROOMS)


def test_no_room_imports_from_its_right() -> None:
    wrong = [
        where
        for path in FILES
        if room_of(path) in ROOMS
        for where, room, _ in across(path)
        if ROOMS.index(room) > ROOMS.index(room_of(path))
    ]
    assert wrong == []


def test_what_all_rooms_share_imports_none_of_them() -> None:
    shared = [PACKAGE / f"{name}.py" for name in SHARED if (PACKAGE / f"{name}.py").exists()]
    assert [where for path in shared for where, _, _ in across(path)] == []


def private(parts: list[str]) -> str | None:
    """The private module or name in what is imported: it begins with _, or is a module of an operation's room."""
    for end, part in enumerate(parts, start=1):
        inside = parts[0] == "kernels" and end == 3 and PACKAGE.joinpath(*parts[:2]).is_dir()
        if part.startswith("_") or (
            inside and PACKAGE.joinpath(*parts[:3]).with_suffix(".py").exists()
        ):
            return ".".join(parts[:end])
    return None


@cache
def private_use() -> dict[str, dict[str, list[str]]]:
    """By room and private module or name, the places that use it from without."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in FILES:
        for where, _, parts in across(path):
            name = private(parts)
            if name is not None:
                found.setdefault(room_of(path), {}).setdefault(name, []).append(where)
    return found


def test_no_room_uses_a_private_name_of_another() -> None:
    new = [
        where
        for room, names in private_use().items()
        for name, places in names.items()
        if name not in KNOWN.get(room, "").split()
        for where in places
    ]
    assert new == []


@pytest.mark.parametrize("room", KNOWN)
def test_no_known_use_is_gone(room: str) -> None:
    assert set(KNOWN[room].split()) == set(private_use().get(room, {}))


def at_import(path: Path) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, not what functions or type checkers import."""
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.Try):
            waiting += node.body
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            waiting += [*node.body, *node.orelse]


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    needs: dict[str, set[str]] = {}
    for name, path in modules.items():
        needs[name] = set()
        for node in at_import(path):
            if isinstance(node, ast.Import):
                needs[name] |= {alias.name for alias in node.names} & modules.keys()
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    needs[name] |= {
                        inner if inner in modules else str(node.module)
                    } & modules.keys()
    # what needs nothing is taken away, again and again: what is left needs itself
    while free := {name for name, of in needs.items() if not of & needs.keys() - {name}}:
        for name in free:
            del needs[name]
    assert needs == {}


# What only some commands use, and waits for: each of these takes from a tenth to ten times as long as the package.
LATE = {
    *("diffusers", "matplotlib", "scipy", "h5py", "spectral", "pooch", "PIL", "sklearn"),
    *("transformers", "rasterio", "xarray", "zarr", "dask"),
}


def test_no_room_imports_what_only_some_commands_use() -> None:
    names = [f"hud_fast.{room}" for room in ROOMS]
    names += [
        f"hud_fast.pipeline.{name}"
        for name in ("unmix", "extract", "jobs", "run", "fit", "evaluate")
    ]
    asked = f"import sys, {', '.join(names)}; print(*{LATE} & sys.modules.keys())"
    run = subprocess.run(
        [sys.executable, "-P", "-c", asked], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
