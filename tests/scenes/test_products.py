"""Products of sensors in GDAL's formats, and counts made reflectance by references: one crop, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spectral.io import envi

from hud_fast.scenes import load_scene

pytest.importorskip("rasterio")

from geo_products import write_desis, write_enmap, write_geotiff, write_wyvern

rng = np.random.default_rng(0)
CUBE = rng.uniform(0.01, 0.9, (12, 9, 6))
CUBE[3, 4] = np.nan
CENTRES, WIDTHS = np.array([418.4, 550.2, 650.9, 993.1, 1650.0, 2440.3]), np.linspace(6, 11, 6)
WRITERS = [write_geotiff, write_enmap, write_desis, write_wyvern]


@pytest.mark.parametrize("write", WRITERS)
def test_each_product_is_the_same_scene(tmp_path: Path, write: Callable[..., Path]) -> None:
    filled = np.nan_to_num(CUBE, nan=-9999.0) if write is write_wyvern else CUBE
    scene = load_scene(write(tmp_path, filled, CENTRES, WIDTHS))
    np.testing.assert_allclose(scene.cube, CUBE, atol=5.1e-5)
    np.testing.assert_allclose(scene.wavelengths, CENTRES, rtol=1e-9)
    np.testing.assert_allclose(scene.fwhm, WIDTHS, rtol=1e-9)
    assert np.argwhere(~scene.valid).tolist() == [[3, 4]]
    assert scene.geo is not None
    assert scene.format == "geotiff"


def test_enmap_by_its_metadata_and_as_cog(tmp_path: Path) -> None:
    path = write_enmap(tmp_path, CUBE, CENTRES, WIDTHS, ending="_IMAGE_COG.tiff")
    metadata = next(tmp_path.glob("*METADATA.XML"))
    np.testing.assert_array_equal(load_scene(metadata).cube, load_scene(path).cube)
    metadata.unlink()
    with pytest.raises(FileNotFoundError, match=r"-METADATA\.XML beside it.*wavelengths and scale"):
        load_scene(path)
    assert load_scene(path, wavelengths=CENTRES).scale == 1.0


@pytest.mark.parametrize("write", [write_enmap, write_desis])
def test_gains_of_each_band(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path, CUBE, CENTRES, WIDTHS)
    metadata = next(tmp_path.glob("*METADATA*"))
    text = metadata.read_text().replace("0.0001</", "0.0002</", 1)
    metadata.write_text(text)
    scene = load_scene(path)
    expected = CUBE * [2, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(scene.cube, expected, atol=1.1e-4)
    assert scene.gains is not None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[:900], "must be a whole .xml file"),
        (lambda text: text.replace("418.4", "many"), "band 1 must have four numbers"),
        (lambda text: text.replace("bandID", "bandX"), "metadata of its 6 bands, got 0"),
        (
            lambda text: text.replace(
                "<level_X>", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><level_X>'
            ),
            "document type",
        ),
    ],
)
def test_metadata_that_cannot_be_used(
    tmp_path: Path, change: Callable[[str], str], why: str
) -> None:
    path = write_enmap(tmp_path, CUBE, CENTRES, WIDTHS)
    metadata = next(tmp_path.glob("*METADATA.XML"))
    metadata.write_text(change(metadata.read_text()))
    with pytest.raises((OSError, ValueError), match=why):
        load_scene(path)


def test_an_item_that_is_of_something_else_is_told(tmp_path: Path) -> None:
    path = write_wyvern(tmp_path, np.nan_to_num(CUBE, nan=0.5), CENTRES, WIDTHS)
    for content in ('{"assets": {}}', "[1", '{"assets": {"a": {"eo:bands": [1, 2, 3, 4, 5, 6]}}}'):
        path.with_suffix(".json").write_text(content)
        with pytest.warns(UserWarning, match=r"json beside the scene is left out"):
            assert load_scene(path).wavelengths is None


def save_counts(path: Path, counts: np.ndarray, **header: str) -> Path:
    envi.save_image(str(path), counts, dtype=np.uint16, ext=".raw", metadata=header)
    return path


DARK = rng.integers(90, 110, (5, 9, 6)).astype(np.uint16)
WHITE = rng.integers(3000, 3900, (7, 9, 6)).astype(np.uint16)
COUNTS = rng.integers(200, 3000, (12, 9, 6)).astype(np.uint16)


def expected(ratio: float = 1.0) -> np.ndarray:
    dark, white = DARK.astype(float).mean(axis=0), WHITE.astype(float).mean(axis=0)
    return ratio * (COUNTS - dark) / (white - dark)


def test_a_capture_folder_is_reflectance(tmp_path: Path) -> None:
    wavelength = [str(c) for c in CENTRES]
    path = save_counts(tmp_path / "c1.hdr", COUNTS, wavelength=wavelength)  # type: ignore[arg-type]
    assert load_scene(path).cube.max() == COUNTS.max()
    save_counts(tmp_path / "DARKREF_c1.hdr", DARK)
    save_counts(tmp_path / "WHITEREF_c1.hdr", WHITE)
    for given in (path, path.with_suffix(".raw")):
        scene = load_scene(given)
        np.testing.assert_allclose(scene.cube, expected(), rtol=1e-6)
        np.testing.assert_allclose(scene.wavelengths, CENTRES)
        assert scene.details["white reference"] == "WHITEREF_c1.hdr"
        assert scene.dtype == np.float32


def test_references_given_with_their_times_and_dead_detectors(tmp_path: Path) -> None:
    path = save_counts(tmp_path / "c1.hdr", COUNTS, tint="20.0")
    broken = WHITE.copy()
    broken[:, 4, 2] = DARK[0, 4, 2] // 2
    white = save_counts(tmp_path / "tile.hdr", broken, tint="5")
    dark = save_counts(tmp_path / "shutter.hdr", DARK)
    scene = load_scene(path, white=white, dark=dark)
    reflectance = expected(5 / 20)
    reflectance[:, 4, 2] = np.nan
    np.testing.assert_allclose(scene.cube, reflectance, rtol=1e-6)
    with pytest.raises(ValueError, match="`dark` must be given with `white`"):
        load_scene(path, white=white)
    with pytest.raises(FileNotFoundError, match="`white` must be an existing file"):
        load_scene(path, white=tmp_path / "none.hdr", dark=dark)
    narrow = save_counts(tmp_path / "narrow.hdr", DARK[:, :5])
    with pytest.raises(
        ValueError, match=r"have the scene's \(9, 6\) columns and bands, got \(5, 6\)"
    ):
        load_scene(path, white=white, dark=narrow)
