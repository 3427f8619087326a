"""A window of a scene and every n-th row and column: what the whole scene has there, and no more is read than that."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from products import write_emit
from scipy.io import savemat

from hud_fast import cli
from hud_fast.pipeline.large import reopened
from hud_fast.pipeline.options import SceneOptions
from hud_fast.scenes import Scene, SceneBlocks, load_scene, open_scene, save_scene, simulate_scene
from hud_fast.scenes.georeference import Lookup, thinned
from hud_fast.scenes.part import PartRows
from hud_fast.scenes.raw import file_values

rng = np.random.default_rng(0)
CUBE = rng.uniform(0.01, 0.9, (61, 47, 9)).astype(np.float32)
CENTRES = np.linspace(400, 2400, 9)
MAP = "{UTM, 1, 1, 500000, 4000000, 30, 30, 13, North, WGS-84, units=Meters}"
PARTS = [
    ((slice(10, 53), slice(5, 44)), 1),
    (((7, None), (None, 40)), 4),
    (None, 3),
    ((slice(60, 61), slice(46, 47)), 9),
]


def write_envi(folder: Path) -> Path:
    scene = Scene(CUBE, wavelengths=CENTRES, geo={"map info": MAP})
    save_scene(scene, folder / "a.hdr")
    return folder / "a.hdr"


def write_tiff(folder: Path) -> Path:
    pytest.importorskip("rasterio")
    from geo_products import write_tiff

    how = {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate"}
    return write_tiff(folder / "a.tif", CUBE, **how)


def write_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        values = CUBE.transpose(2, 0, 1)
        file.create_dataset("cube", data=values, chunks=(3, 8, 4), compression=1)
    return folder / "a.h5"


def write_plain_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["cube"] = CUBE
    return folder / "a.h5"


def write_mat(folder: Path) -> Path:
    savemat(folder / "a.mat", {"cube": CUBE}, do_compression=True)
    return folder / "a.mat"


WRITERS = [write_envi, write_tiff, write_hdf5, write_plain_hdf5, write_mat]


def slices(window: Any, every: int) -> tuple[slice, slice]:
    """As numpy has it."""
    sides = (slice(None), slice(None)) if window is None else window
    return slice(*ends(sides[0])), slice(*ends(sides[1]))


def ends(side: Any) -> tuple[int | None, int | None]:
    return (side.start, side.stop) if isinstance(side, slice) else side


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("window", "every"), PARTS)
def test_a_part_is_what_the_whole_has_there(
    tmp_path: Path, write: Callable[[Path], Path], window: Any, every: int
) -> None:
    path = write(tmp_path)
    layout = {"layout": "CHW"} if write is write_hdf5 else {}
    part = load_scene(path, window=window, every=every, **layout)
    np.testing.assert_array_equal(load_scene(path, **layout).cube, CUBE)
    np.testing.assert_array_equal(part.cube, CUBE[slices(window, every)][::every, ::every])
    file = open_scene(path, window=window, every=every, **layout)
    H, W, _ = file.shape
    np.testing.assert_array_equal(file.rows(H // 3, H), part.cube[H // 3 :])
    cube = file.raw.cube
    if isinstance(cube, PartRows):
        cube = pickle.loads(pickle.dumps(cube))
        wide, tall = slice(W // 2, W), slice(H // 4, H // 4 + 5)
        np.testing.assert_array_equal(file_values(cube, tall, wide), part.cube[tall, wide])
        assert cube[3:3].shape == (0, W, 9)
    options = SceneOptions(**layout, window=window and tuple(map(ends, window)), every=every)
    blocks = SceneBlocks(file, reopen=partial(reopened, str(path), options))
    blocks = pickle.loads(pickle.dumps(blocks))  # as to another process
    for one in blocks.parts(500):
        np.testing.assert_array_equal(blocks[one], part.cube[one])


def test_no_more_is_read_than_the_part_needs() -> None:
    asked: list[tuple[range, range]] = []

    class File:
        shape, dtype, chunks = (100, 80, 2), np.dtype(np.float32), (8, 10)

        def __getitem__(self, rows: slice) -> Any:
            raise AssertionError("all columns are asked for")

        def window(self, rows: slice, columns: slice) -> Any:
            asked.append((range(rows.start, rows.stop), range(columns.start, columns.stop)))
            return np.zeros((rows.stop - rows.start, columns.stop - columns.start, 2), np.float32)

    part = PartRows(File(), range(10, 90), range(20, 50))
    assert part[5:15].shape == (10, 30, 2)
    assert asked == [(range(15, 25), range(20, 50))]
    asked.clear()
    # rows 3, 7, 11, 15 | 19: of each chunk what lies between the first and the last; columns in one piece
    part = PartRows(File(), range(3, 100, 4), range(1, 70, 4))
    assert part[:5].shape == (5, 18, 2)
    assert [rows for rows, _ in asked] == [range(3, 8), range(11, 16), range(19, 20)]
    assert {columns for _, columns in asked} == {range(1, 70)}
    assert part.chunks == (2, 3)
    asked.clear()
    # chunks without a line in them stay unread
    part = PartRows(File(), range(0, 100, 50), range(0, 80, 30))
    assert part[:].shape == (2, 3, 2)
    assert [(rows.start, columns.start) for rows, columns in asked] == [
        (r, c) for r in (0, 50) for c in (0, 30, 60)
    ]
    assert all(len(rows) == len(columns) == 1 for rows, columns in asked)


def test_what_has_a_place_goes_along(tmp_path: Path) -> None:
    scene = simulate_scene(24, 30, C=6, D=3, seed=0)
    labels, mask = np.arange(720).reshape(24, 30), np.ones((24, 30), bool)
    mask[4:9, 6:20] = False
    facts = {"labels": labels, "mask": mask, "geo": {"map info": MAP}}
    save_scene(scene.replace(**facts), tmp_path / "a.npz")
    given = np.ones((24, 30), np.uint8)
    given[12, 12] = 0
    part = load_scene(tmp_path / "a.npz", mask=given, window=((2, 20), (4, None)), every=2)
    some = slice(2, 20, 2), slice(4, None, 2)
    np.testing.assert_array_equal(part.labels, labels[some])
    np.testing.assert_array_equal(part.mask, (mask & (given == 1))[some])
    assert part.truth is not None
    assert scene.truth is not None
    np.testing.assert_array_equal(part.truth.abundances, scene.truth.abundances[some])
    assert part.details["part"] == "rows 2:20, columns 4:30 of 24 x 30, every 2"
    assert load_scene(tmp_path / "a.npz").details.get("part") is None
    with pytest.raises(ValueError, match=r"`mask` must have shape \(24, 30\), got \(9, 13\)"):
        load_scene(tmp_path / "a.npz", mask=given[some], window=((2, 20), (4, None)), every=2)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own
@pytest.mark.parametrize("every", [1, 5])
def test_the_place_is_rasterios(tmp_path: Path, every: int) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = write_tiff(tmp_path)
    part = load_scene(path, window=((10, 53), (5, 44)), every=every)
    save_scene(part, tmp_path / "part.tif")
    with rasterio.open(path) as file, rasterio.open(tmp_path / "part.tif") as made:
        window = rasterio.windows.Window(5, 10, 39, 43)
        expected = np.array(file.window_transform(window))[:6] * [every, every, 1, every, every, 1]
        np.testing.assert_allclose(np.array(made.transform)[:6], expected, rtol=1e-12)
        assert made.crs == file.crs


def test_a_map_info_keeps_its_words() -> None:
    geo = {"map info": "{UTM, 3, 5, 500060, 3999880, 30, 30, 13, North}", "pixel size": "{30, 30}"}
    assert thinned(geo, 4) == {"map info": "{UTM, 1.5, 2, 500060, 3999880, 120, 120, 13, North}"}
    assert thinned(geo, 1) == geo
    assert thinned({"map info": "{UTM}"}, 2) is None


def test_a_place_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    path = write_envi(tmp_path)
    path.write_text(path.read_text().replace(MAP, "{UTM, one, 1}"))
    with pytest.warns(UserWarning, match="the place of the part"):
        assert load_scene(path, window=((1, 9), (1, 9))).geo is None


@pytest.mark.parametrize("every", [1, 2])
def test_an_emit_scene_keeps_its_map(tmp_path: Path, every: int) -> None:
    pytest.importorskip("netCDF4")
    columns, rows = np.meshgrid(np.arange(1, 48), np.arange(1, 62))
    turned = rows[::-1], columns[::-1]  # a map whose rows go up
    write_emit(
        tmp_path / "a.nc",
        CUBE,
        CENTRES,
        glt=(turned[1], turned[0]),
        missing=None,
        chunks=(16, 16, 9),
    )
    part = load_scene(tmp_path / "a.nc", window=((8, 40), (6, 30)), every=every)
    assert isinstance(part.lookup, Lookup)
    on_map = part.lookup.apply(part.cube[..., 0])
    # independent: each map pixel's place in the scene, its block's first pixel if that is in the window
    for i in range(0, 61, every):
        for j in range(0, 47, every):
            r, c = 60 - i, j
            expected = np.nan
            if 8 <= r < 40 and 6 <= c < 30:
                expected = CUBE[r - (r - 8) % every, c - (c - 6) % every, 0]
            np.testing.assert_equal(on_map[i // every, j // every], np.float32(expected))


def test_no_data_given_overrules_the_files_in_a_part(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    from geo_products import write_tiff

    values = np.full((20, 20, 4), 7, np.int16) + np.arange(4, dtype=np.int16)
    values[5, 5] = -1
    path = write_tiff(tmp_path / "a.tif", values, nodata=-1)
    kept = load_scene(path, window=((4, 9), (4, 9)), no_data="none")
    assert kept.cube[1, 1].tolist() == [-1] * 4
    assert np.isnan(load_scene(path, window=((4, 9), (4, 9))).cube[1, 1]).all()


@pytest.mark.parametrize(
    ("choice", "error", "why"),
    [
        (
            {"window": ((0, 62), (0, 9))},
            ValueError,
            "`window` must .* inside 61 x 47, got rows 0:62",
        ),
        ({"window": ((0, 9), (40, 48))}, ValueError, "inside 61 x 47, got columns 40:48"),
        ({"window": ((-5, None), (0, 9))}, ValueError, "inside 61 x 47, got rows -5:61"),
        ({"window": ((9, 9), (0, 9))}, ValueError, "must keep a pixel.*got rows 9:9"),
        ({"window": (slice(0, 9, 2), slice(0, 9))}, ValueError, "no step .*got 2 for its rows"),
        ({"window": (slice(9, 0, -1), slice(0, 9))}, ValueError, "no step .*got -1 for its rows"),
        ({"window": (0, 9)}, TypeError, r"each a slice or \(start, stop\).*got \(0, 9\)"),
        ({"window": ((0.5, 9), (0, 9))}, TypeError, "whole numbers or None"),
        ({"window": "0:9,0:9"}, TypeError, "`window` must be"),
        ({"every": 0}, ValueError, "`every` must be a whole number above 0, got 0"),
        ({"every": 1.5}, TypeError, "`every` must be a whole number above 0, got 1.5"),
    ],
)
def test_a_part_that_is_none(
    tmp_path: Path, choice: dict[str, Any], error: type[Exception], why: str
) -> None:
    path = write_envi(tmp_path)
    with pytest.raises(error, match=f"^load_scene: .*{why}"):
        load_scene(path, **choice)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_envi(tmp_path)
    command = [
        "unmix",
        str(path),
        "--endmembers",
        "3",
        "--no-figures",
        "--out",
        str(tmp_path / "out"),
    ]
    hash(SceneOptions(window=((10, 50), (None, 30)), every=2))
    assert cli.main([*command, "--window", "10:50,:30", "--every", "2"]) == 0
    words = "rows 10:50, columns 0:30 of 61 x 47, every 2"
    assert json.loads((tmp_path / "out" / "unmixing.json").read_text())["part"] == words
    made = load_scene(tmp_path / "out" / "abundances.hdr")
    assert made.shape == (20, 15, 3)
    assert made.geo is not None
    corner = [float(part) for part in made.geo["map info"].split(",")[1:7]]
    assert corner == [1, -4, 500000, 4000000, 60, 60]  # row 10 is 5 large ones below the first
    capsys.readouterr()
    assert cli.main([*command, "--window", "10:50", "--overwrite"]) == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert (
        "--window must be ROWS,COLUMNS, each START:STOP, such as 100:612,0:512, got 10:50" in text
    )
    assert cli.main([*command, "--window", "10:90,:", "--overwrite"]) == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "inside 61 x 47, got rows 10:90" in text
