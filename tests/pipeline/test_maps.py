"""From a product's file to a map: one crop in each format gives the same abundances, in the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast.pipeline import ModelOptions, SceneOptions, unmix_scene
from hud_fast.pipeline.cubes import choose_format
from hud_fast.pipeline.errors import InputError
from hud_fast.scenes import Scene, load_scene, save_scene, simulate_scene
from hud_fast.scenes.georeference import Lookup

rasterio = pytest.importorskip("rasterio")

from geo_products import CRS, write_desis, write_enmap, write_geotiff, write_wyvern  # noqa: E402

OPTIONS = ModelOptions(endmembers=3, seed=0)


@pytest.fixture(scope="module")
def crop() -> dict[str, Any]:
    """Reflectances that 10,000 counts hold exactly, of 24 x 20 pixels."""
    made = simulate_scene(24, 20, C=30, D=3, seed=1)
    whole = np.rint(made.cube / made.cube.max() * 9000).clip(1, None) / 1e4
    return {
        "cube": whole,
        "centres": np.linspace(420.0, 2420.0, 30),
        "widths": np.linspace(6.0, 11.0, 30),
    }


def unmixed(scene: Path, out: Path, kind: str = "auto") -> Any:
    unmix_scene(str(scene), out, model_options=OPTIONS, kind=kind)
    return np.load(out / "abundances.npy")


def test_each_product_gives_the_same_map(
    tmp_path: Path, crop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hud_fast.pipeline.unmix._draw", lambda *_: {})
    maps = {}
    for write in (write_geotiff, write_enmap, write_desis, write_wyvern):
        folder = tmp_path / write.__name__
        folder.mkdir()
        path = write(folder, crop["cube"], crop["centres"], crop["widths"])
        maps[write.__name__] = unmixed(path, folder / "maps")
        with rasterio.open(folder / "maps" / "abundances.tif") as file:
            assert file.crs == rasterio.crs.CRS.from_string(CRS)
            assert tuple(file.transform)[:6] == (30, 0, 600000, 0, -30, 4000000)
            assert file.descriptions == ("endmember_1", "endmember_2", "endmember_3")
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), maps[write.__name__])
    for name, values in maps.items():
        np.testing.assert_allclose(values, maps["write_geotiff"], atol=1e-4, err_msg=name)


def test_an_envi_scene_as_a_geotiff(
    tmp_path: Path, crop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hud_fast.pipeline.unmix._draw", lambda *_: {})
    info = "{UTM, 1, 1, 600000, 4000000, 30, 30, 32, North, WGS-84, units=Meters}"
    header = save_scene(Scene(crop["cube"], geo={"map info": info}), tmp_path / "a.hdr")
    maps = unmixed(header, tmp_path / "maps", "gtiff")
    with rasterio.open(tmp_path / "maps" / "abundances.tif") as file:
        assert file.crs == rasterio.crs.CRS.from_string(CRS)
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), maps)
    assert load_scene(tmp_path / "maps" / "abundances.tif").shape == (24, 20, 3)


def test_the_kind_of_what_we_read_and_do_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    index = np.zeros((2, 2), np.int32)
    placed = Scene(np.ones((2, 2, 3)), format="emit", lookup=Lookup(index, index, None))
    assert choose_format("auto", placed) == "geotiff"
    assert choose_format("auto", placed.replace(lookup=None)) == "npy"
    assert choose_format("gtiff", placed) == "geotiff"
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(InputError, match=r"hud-fast\[geo\]"):
        choose_format("gtiff", placed)


def test_references_reach_the_reader(tmp_path: Path, crop: dict[str, Any]) -> None:
    counts = np.rint(crop["cube"] * 3000 + 100).astype(np.float32)
    paths = [
        str(save_scene(one, tmp_path / f"{name}.hdr"))
        for name, one in (
            ("a", counts),
            ("white", np.full((3, 20, 30), 3100.0)),
            ("dark", np.full((3, 20, 30), 100.0)),
        )
    ]
    scene = SceneOptions(white=paths[1], dark=paths[2]).load(paths[0])
    np.testing.assert_allclose(scene.cube, (counts - 100) / 3000, atol=1e-6)
