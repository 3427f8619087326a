"""Sets of cubes: what is written is read back, by us and by the scene's own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hud_fast.pipeline.cubes import (
    choose_format,
    read_cubes,
    refuse_foreign,
    write_cubes,
    writing_array,
    writing_cubes,
)
from hud_fast.pipeline.errors import InputError
from hud_fast.scenes import Scene, load_scene


@pytest.fixture
def cubes() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, 9, 8, 5)).astype(np.float32)


def scene_like(**facts: Any) -> Scene:
    return Scene(
        np.ones((20, 21, 5)),
        name="field",
        wavelengths=np.arange(400.0, 450, 10),
        mask=np.ones((20, 21), bool),
        labels=np.zeros((20, 21), int),
        geo={"map info": "{UTM, 1, 1, 5, 6, 7, 8, 9, North}"},
        **facts,
    )


@pytest.mark.parametrize(("kind", "suffix"), [("mat", ".mat"), ("envi", ".hdr"), ("npz", ".npz")])
def test_cubes_in_the_scenes_own_kind_of_file(
    tmp_path: Path, cubes: NDArray[np.float32], kind: str, suffix: str
) -> None:
    scene = scene_like(format=kind, scale=1000.0, variable="field")
    assert choose_format("auto", scene) == kind
    write_cubes(tmp_path / "set", cubes, scene, kind=kind, abundances=cubes[..., :2])
    assert np.allclose(np.load(tmp_path / "set" / "generated.npy"), cubes * 1000)
    one = load_scene(tmp_path / "set" / f"cube-001{suffix}", scale=1000.0)
    assert np.allclose(one.cube, cubes[1])
    assert one.geo is None or "map info" not in one.geo  # a generated cube lies nowhere
    assert np.allclose(read_cubes(tmp_path / "set"), cubes * 1000)
    (tmp_path / "set" / "generated.npy").unlink()
    assert np.allclose(read_cubes(tmp_path / "set"), cubes * 1000)


def test_what_an_envi_file_says_of_its_bands_goes_into_the_cubes(
    tmp_path: Path, cubes: NDArray[np.float32]
) -> None:
    scene = scene_like(
        format="envi",
        dtype=np.int16,
        fwhm=np.full(5, 9.0),
        gains=np.full(5, 0.01),
        band_names=tuple("abcde"),
        details={"data suffix": ".dat", "reflectance scale factor": "10000.0"},
    )
    for _ in range(2):  # the set's own files are no one else's, whatever the scene's is called
        write_cubes(tmp_path / "set", cubes, scene, kind="envi")
    one = load_scene(tmp_path / "set" / "cube-001.hdr")
    np.testing.assert_array_equal(one.cube, cubes[1])  # float32: what the numbers mean
    assert one.gains is None
    assert one.band_names == tuple("abcde")
    np.testing.assert_array_equal(one.fwhm, np.full(5, 9.0))
    assert one.details["reflectance scale factor"] == "10000.0"


def test_one_array_is_enough_for_npy(tmp_path: Path, cubes: NDArray[np.float32]) -> None:
    write_cubes(tmp_path / "set", cubes, scene_like(), kind="npy")
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["generated.npy"]


def test_a_runs_folder_a_stack_and_a_single_cube(
    tmp_path: Path, cubes: NDArray[np.float32]
) -> None:
    write_cubes(tmp_path / "run" / "generated", cubes, scene_like(), kind="npy")
    assert np.array_equal(read_cubes(tmp_path / "run"), cubes)
    np.save(tmp_path / "stack.npy", cubes)
    assert np.array_equal(read_cubes(tmp_path / "stack.npy"), cubes)
    np.save(tmp_path / "one.npy", cubes[0])
    assert np.array_equal(read_cubes(tmp_path / "one.npy"), cubes[:1])


def test_an_older_set_is_replaced_whole(tmp_path: Path, cubes: NDArray[np.float32]) -> None:
    write_cubes(tmp_path / "set", cubes, scene_like(), kind="mat")
    write_cubes(tmp_path / "set", cubes[:1], scene_like(), kind="mat")
    names = sorted(p.name for p in (tmp_path / "set").iterdir())
    assert names == ["cube-000.mat", "generated.npy"]


@pytest.mark.parametrize(
    "name", ["cube-001.npz", "cube-2024.mat", "cube-000.mat.bak", "cube-000.png"]
)
def test_a_file_that_no_such_set_has_is_somebody_elses(
    tmp_path: Path, cubes: NDArray[np.float32], name: str
) -> None:
    write_cubes(tmp_path / "set", cubes[:1], scene_like(), kind="mat")
    (tmp_path / "set" / name).write_text("mine")
    with pytest.raises(InputError, match=rf"holds other files \({name}\)"):
        write_cubes(tmp_path / "set", cubes, scene_like(), kind="mat")
    assert (tmp_path / "set" / name).read_text() == "mine"


def test_what_comes_while_cubes_are_made_is_not_replaced(
    tmp_path: Path, cubes: NDArray[np.float32]
) -> None:
    def come(done: int, total: int) -> None:
        if done == total:
            (tmp_path / "set" / "notes.txt").write_text("mine")

    write_cubes(tmp_path / "set", cubes, scene_like(), kind="npy")
    with pytest.raises(InputError, match=r"notes.txt"):
        write_cubes(tmp_path / "set", cubes, scene_like(), kind="npy", progress=come)
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["generated.npy", "notes.txt"]


def test_only_a_stack_of_cubes_is_replaced_by_one(
    tmp_path: Path, cubes: NDArray[np.float32]
) -> None:
    stack = tmp_path / "a.npy"
    refuse_foreign(stack)
    np.save(stack, cubes)
    refuse_foreign(stack)
    for others in (cubes[0], cubes.astype(np.float64)):  # a scene, somebody else's numbers
        np.save(stack, others)
        with pytest.raises(InputError, match=r"a.npy is no stack of cubes"):
            refuse_foreign(stack)
    stack.unlink()
    stack.mkdir()
    with pytest.raises(InputError, match=r"a.npy is no stack of cubes"):
        refuse_foreign(stack)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: --out must be a folder"):
        refuse_foreign(tmp_path / "file")


def test_errors(tmp_path: Path, cubes: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match=r"--format must be one of auto, mat, envi, npz, npy"):
        choose_format("tiff", scene_like())
    with pytest.raises(InputError, match=r"holds no cubes"):
        read_cubes(tmp_path)
    with pytest.raises(InputError, match=r"nothing.npy: No such file"):
        read_cubes(tmp_path / "nothing.npy")
    np.save(tmp_path / "flat.npy", np.ones((3, 4)))
    with pytest.raises(InputError, match=r"must hold cubes of shape \(B, h, w, C\), got float64"):
        read_cubes(tmp_path / "flat.npy")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(InputError):
        read_cubes(tmp_path / "text.npy")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        write_cubes(tmp_path / "set", cubes, scene_like(), kind="npy")
    (tmp_path / "two").mkdir()
    np.save(tmp_path / "two" / "a.npy", np.ones((4, 4, 3)))
    np.save(tmp_path / "two" / "b.npy", np.ones((4, 4, 2)))
    with pytest.raises(InputError, match=r"b.npy must have shape \(4, 4, 3\) as a.npy has"):
        read_cubes(tmp_path / "two")


@pytest.mark.parametrize("kind", ["npy", "mat"])
def test_batch_by_batch_gives_the_same_files(
    tmp_path: Path, cubes: NDArray[np.float32], kind: str
) -> None:
    scene = scene_like(format=kind, scale=100.0, variable="field")
    maps = cubes[..., :2].copy()
    write_cubes(tmp_path / "whole", cubes, scene, kind=kind, abundances=maps)
    with writing_cubes(tmp_path / "parts", scene, cubes.shape, kind=kind, endmembers=2) as write:
        write(cubes[:2], maps[:2])
        assert not (tmp_path / "parts").exists()
        write(cubes[2:], maps[2:])
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == names
    for name in ("generated.npy", "abundances.npy"):
        a, b = (np.load(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert np.array_equal(a, b)
        assert np.array_equal(np.load(tmp_path / "whole" / name, mmap_mode="r"), a)
    assert np.allclose(np.load(tmp_path / "parts" / "generated.npy"), cubes * 100)


def test_a_set_that_is_cut_short_leaves_nothing(tmp_path: Path, cubes: NDArray[np.float32]) -> None:
    with (
        pytest.raises(RuntimeError, match=r"generated.npy: 1 of 3 cubes were written"),
        writing_cubes(tmp_path / "set", scene_like(), cubes.shape, kind="npy") as write,
    ):
        write(cubes[:1], None)

    def stopped() -> None:
        with writing_array(tmp_path / "stack.npy", cubes.shape) as put:
            put(cubes[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
