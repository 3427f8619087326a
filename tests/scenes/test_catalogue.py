"""The catalogue: complete, right in its numbers, forgiving in names; band centres against their sources."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat

from hud_fast.scenes import CATALOGUE, find_entry, load_scene
from hud_fast.scenes import band_centres as centres
from hud_fast.scenes.catalogue import recognise


def test_the_paper_s_numbers() -> None:
    counts = {key: entry.endmembers for key, entry in CATALOGUE.items()}
    assert counts == {
        "indian-pines": 16,
        "ksc": 13,
        "pavia-centre": 9,
        "pavia-university": 9,
        "salinas": 16,
        "samson": 3,
        "jasper-ridge": 4,
        "salinas-crop": 16,
        "salinas-a": 6,
        "pavia-crop": 9,
        "pavia-university-crop": 8,
    }
    assert CATALOGUE["indian-pines"].rgb_bands == (45, 16, 10)  # the paper's 46, 17, 11
    assert CATALOGUE["ksc"].rgb_bands == (27, 8, 9)
    assert CATALOGUE["pavia-centre"].rgb_bands == (45, 26, 9)
    assert CATALOGUE["pavia-university"].rgb_bands == (45, 26, 9)
    assert CATALOGUE["salinas"].rgb_bands == (35, 16, 10)
    scales = {key: entry.full_scale for key, entry in CATALOGUE.items()}
    assert scales.pop("indian-pines") == 8192.0
    assert scales.pop("ksc") == 512.0
    assert scales.pop("samson") is None
    assert scales.pop("jasper-ridge") is None
    assert set(scales.values()) == {4096.0}


CROPS = {
    "salinas-crop": "salinas",
    "salinas-a": "salinas",
    "pavia-crop": "pavia-centre",
    "pavia-university-crop": "pavia-university",
}


@pytest.mark.parametrize(("crop", "whole"), CROPS.items())
def test_crops_are_seen_as_the_whole_scenes(crop: str, whole: str) -> None:
    one, other = CATALOGUE[crop], CATALOGUE[whole]
    for field in ("sensor", "rgb_bands", "full_scale", "folder", "wavelength_source"):
        assert getattr(one, field) == getattr(other, field)
    assert one.shape[2] == other.shape[2]
    assert one.wavelengths is not None
    assert other.wavelengths is not None
    np.testing.assert_array_equal(one.wavelengths(), other.wavelengths())
    assert one.cube != other.cube
    assert one.label_names == (other.label_names if one.labels else None)


@pytest.mark.parametrize("crop", CROPS)
def test_crops_are_the_files_at_hand(data_dir: Path, crop: str) -> None:
    """Checksums, and D: where there are labels, it is the number of the classes that occur."""
    entry = CATALOGUE[crop]
    for file in (entry.cube, entry.altered):
        if file is not None:
            content = (data_dir / entry.folder / file.name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file.sha256
    scene = load_scene(data_dir / entry.folder / entry.cube.name)
    assert (scene.name, scene.shape) == (crop, entry.shape)
    assert scene.endmember_count == entry.endmembers
    assert (scene.labels is None) == (entry.labels is None)
    if scene.labels is not None:
        assert np.unique(scene.labels[scene.labels > 0]).size == entry.endmembers
    assert (~scene.valid).sum() == (185 if crop == "salinas-crop" else 0)


def test_pavia_university_s_crop_has_the_whole_scene_s_classes(data_dir: Path) -> None:
    whole = loadmat(data_dir / "pavia_university" / "PaviaU_gt.mat")["paviaU_gt"]
    crop = loadmat(data_dir / "pavia_university" / "paviaU_crop_140x80_with_labels.mat")
    np.testing.assert_array_equal(crop["paviaU_gt"], whole[229:369, 89:169])


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.key)
def test_entries_are_complete(entry) -> None:  # type: ignore[no-untyped-def]
    for file in (entry.cube, entry.labels, entry.altered):
        if file is not None:
            assert len(file.sha256) == 64
            assert file.name.endswith(".mat")
            if (
                file.url is not None and entry.key in CROPS
            ):  # one commit of a repository, under its own name there
                place = re.escape(entry.page.removeprefix("https://github.com/"))
                address = (
                    rf"https://raw\.githubusercontent\.com/{place}/[0-9a-f]{{40}}/[\w/%]+\.mat"
                )
                assert re.fullmatch(address, file.url)
            elif file.url is not None:
                assert re.fullmatch(
                    rf"https://www\.ehu\.eus/ccwintco/uploads/[0-9a-f]/[0-9a-f]{{2}}/{file.name}",
                    file.url,
                )
    if entry.labels is not None and entry.key not in CROPS:
        assert entry.label_names is not None
        assert len(entry.label_names) == entry.endmembers  # D of the paper is the class count
    if entry.wavelengths is not None:
        values = entry.wavelengths()
        assert values.shape == (entry.shape[2],)
        assert (values > 300).all()
        assert (values < 2600).all()
    assert recognise(entry.cube.variable, entry.shape) is entry


@pytest.mark.parametrize("name", ["indian-pines", "Indian Pines", "INDIAN_PINES", " indian-pines "])
def test_names_are_forgiving(name: str) -> None:
    assert find_entry(name).key == "indian-pines"


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"^find_entry: `name` must be one of .* mean pavia-uni"):
        find_entry("paviauniversity")
    with pytest.raises(ValueError, match=r"got 'xyzzy'$"):
        find_entry("xyzzy")


def test_recognise_needs_name_and_shape() -> None:
    assert recognise("Y", (307, 307, 162)) is None
    assert recognise(None, (145, 145, 200)) is None


def test_indian_pines_centres_are_the_published_ones(data_dir: Path) -> None:
    table = np.loadtxt(data_dir / "indian_pines" / "92AV3C.spc", skiprows=2)
    np.testing.assert_allclose(centres.INDIAN_PINES_220, table[:, 0], atol=0.0051)
    assert len(centres.INDIAN_PINES_REMOVED) == 20
    expected = [table[i, 0] for i in range(220) if i + 1 not in centres.INDIAN_PINES_REMOVED]
    np.testing.assert_allclose(centres.indian_pines(), expected, atol=0.0051)


def test_indian_pines_centres_against_the_other_list() -> None:
    """Equal up to the first gap but for a misprint; then the other list is one channel late."""
    datasets = pytest.importorskip("tensorly.datasets")
    other = np.asarray(datasets.load_indian_pines().ticks[1], dtype=float)
    difference = np.abs(centres.indian_pines() - other)
    assert (difference[:103] < 0.06).all()
    assert (difference[103:144] > 9).all()
    assert (difference[144:198] > 9).sum() == 54


def test_carbon_dioxide_decides_for_our_centres(indian_pines: NDArray[np.float32]) -> None:
    """The lines at 2009 and 2061 nm (4978 and 4853 per cm) are where our centres put them."""
    values = centres.indian_pines()
    mean = indian_pines.mean(axis=(0, 1), dtype=np.float64)
    for line in (2009.0, 2060.5):
        near = np.flatnonzero(np.abs(values - line) < 25.0)
        # the parabola through the lowest band and its neighbours
        low = near[mean[near].argmin()]
        left, middle, right = mean[low - 1 : low + 2]
        shift = 0.5 * (left - right) / (left - 2 * middle + right)
        assert values[low] + 10.0 * shift == pytest.approx(line, abs=4.0)


def test_jasper_ridge_s_channels(data_dir: Path) -> None:
    kept = loadmat(data_dir / "jasper_ridge" / "jasperRidge2_R198.mat")["SlectBands"].ravel()
    np.testing.assert_array_equal(
        centres.jasper_ridge(), centres.aviris_nominal()[kept.astype(int) - 1]
    )
