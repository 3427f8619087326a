"""The public scenes that HUD is measured on, crops of them, and the two small ones of the unmixing benchmarks.

For each: where it lies, what its file must hold, its checksum, the bands that the paper shows as red, green
and blue (Sec. IV of arXiv 2506.02601), and the number of endmembers D that it uses, which is the number of
classes in the ground truth.

Sources: Grupo de Inteligencia Computacional, UPV/EHU, "Hyperspectral Remote Sensing Scenes"; for Samson and
Jasper Ridge, F. Zhu, "Hyperspectral Unmixing: Ground Truth Labeling, Datasets, Benchmark Performances and
Survey", arXiv 1708.05125.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import band_centres, class_names

EHU = "https://www.ehu.eus/ccwintco/uploads"
EHU_PAGE = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"
UNMIXING_PAGE = "https://rslab.ut.ac.ir/data"
GITHUB = "https://github.com"


@dataclass(frozen=True)
class File:
    """One file of a scene: our name for it, what it holds, and where it lies."""

    name: str  # what a copy is called here
    variable: str
    sha256: str
    url: str | None = None  # may end in another name; None = by hand only


@dataclass(frozen=True)
class Entry:
    """One scene of the catalogue."""

    key: str
    title: str
    sensor: str
    cube: File
    shape: tuple[int, int, int]  # (H, W, C)
    endmembers: int  # D of the paper; of the crops, see there
    page: str
    folder: str  # folder below HUD_FAST_DATA where a copy usually lies
    rgb_bands: tuple[int, int, int] | None = None  # 0-based
    labels: File | None = None  # may be the cube's own file
    label_names: tuple[str, ...] | None = None  # classes 1, 2, ...
    altered: File | None = (
        None  # pixels that are not the sensor's: nonzero = altered, masked by `load_scene`
    )
    wavelengths: Callable[[], NDArray[np.float64]] | None = None  # () -> (C,) nm
    wavelength_source: str = "unknown"
    full_scale: float | None = (
        None  # file value that the authors of HUD clip at before they map to [-1, 1]
    )


def _github(repository: str, commit: str, path: str) -> str:
    """Address of a file as it is at one commit, whatever comes later."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{quote(path)}"


def _from_one(red: int, green: int, blue: int) -> tuple[int, int, int]:
    """The paper counts bands from 1."""
    return red - 1, green - 1, blue - 1


CATALOGUE: dict[str, Entry] = {
    entry.key: entry
    for entry in (
        Entry(
            key="indian-pines",
            title="Indian Pines",
            sensor="AVIRIS",
            cube=File(
                "Indian_pines_corrected.mat",
                "indian_pines_corrected",
                "ec2f8808710919d566f70f0d4aa885aae1ddfd42b734aba71c5e12ca65450939",
                f"{EHU}/6/67/Indian_pines_corrected.mat",
            ),
            shape=(145, 145, 200),
            endmembers=16,
            page=EHU_PAGE,
            folder="indian_pines",
            rgb_bands=_from_one(46, 17, 11),
            labels=File(
                "Indian_pines_gt.mat",
                "indian_pines_gt",
                "65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c",
                f"{EHU}/c/c4/Indian_pines_gt.mat",
            ),
            label_names=class_names.INDIAN_PINES,
            wavelengths=band_centres.indian_pines,
            wavelength_source="Purdue 92AV3C calibration, 220 channels less the 20 removed",
            full_scale=8192.0,
        ),
        Entry(
            key="ksc",
            title="Kennedy Space Center",
            sensor="AVIRIS",
            cube=File(
                "KSC.mat",
                "KSC",
                "b1ad011cfdb65c853e4f9f6108ca4774467d87f90a5c23b74ff3a2984a3b4786",
                f"{EHU}/2/26/KSC.mat",
            ),
            shape=(512, 614, 176),
            endmembers=13,
            page=EHU_PAGE,
            folder="ksc",
            rgb_bands=_from_one(28, 9, 10),
            labels=File(
                "KSC_gt.mat",
                "KSC_gt",
                "a1d6ab9293691006bd4d9742d1a1e1c141b1aaa5fbc5fa128b33c1d09038510b",
                f"{EHU}/a/a6/KSC_gt.mat",
            ),
            label_names=class_names.KSC,
            wavelength_source="unknown: 176 of 224 channels, which ones is not published",
            full_scale=512.0,
        ),
        Entry(
            key="pavia-centre",
            title="Pavia Centre",
            sensor="ROSIS-03",
            cube=File(
                "Pavia.mat",
                "pavia",
                "b60341da323fd271cd97dd6d7a69514d385ccd7fdfc5a60c4ff5994b047f152e",
                f"{EHU}/e/e3/Pavia.mat",
            ),
            shape=(1096, 715, 102),
            endmembers=9,
            page=EHU_PAGE,
            folder="pavia_centre",
            rgb_bands=_from_one(46, 27, 10),
            labels=File(
                "Pavia_gt.mat",
                "pavia_gt",
                "7eb54ab81b404dd3ae572e6d0ec211595029e5a847bec2cfb8f9e72d07066b69",
                f"{EHU}/5/53/Pavia_gt.mat",
            ),
            label_names=class_names.PAVIA_CENTRE,
            wavelengths=lambda: band_centres.rosis(102),
            wavelength_source="nominal, equal steps from 430 to 860 nm",
            full_scale=4096.0,
        ),
        Entry(
            key="pavia-university",
            title="Pavia University",
            sensor="ROSIS-03",
            cube=File(
                "PaviaU.mat",
                "paviaU",
                "28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
                f"{EHU}/e/ee/PaviaU.mat",
            ),
            shape=(610, 340, 103),
            endmembers=9,
            page=EHU_PAGE,
            folder="pavia_university",
            rgb_bands=_from_one(46, 27, 10),
            labels=File(
                "PaviaU_gt.mat",
                "paviaU_gt",
                "23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
                f"{EHU}/5/50/PaviaU_gt.mat",
            ),
            label_names=class_names.PAVIA_UNIVERSITY,
            wavelengths=lambda: band_centres.rosis(103),
            wavelength_source="nominal, equal steps from 430 to 860 nm",
            full_scale=4096.0,
        ),
        Entry(
            key="salinas",
            title="Salinas",
            sensor="AVIRIS",
            cube=File(
                "Salinas_corrected.mat",
                "salinas_corrected",
                "5ec1c0d22f56d18ecd336f8e35735863c0f160682e04e0c18ef3f89a3334d87d",
                f"{EHU}/a/a3/Salinas_corrected.mat",
            ),
            shape=(512, 217, 204),
            endmembers=16,
            page=EHU_PAGE,
            folder="salinas",
            rgb_bands=_from_one(36, 17, 11),
            labels=File(
                "Salinas_gt.mat",
                "salinas_gt",
                "ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
                f"{EHU}/f/fa/Salinas_gt.mat",
            ),
            label_names=class_names.SALINAS,
            wavelengths=band_centres.salinas,
            wavelength_source="nominal, 224 equal steps from 380 to 2500 nm less the 20 removed",
            full_scale=4096.0,
        ),
        Entry(
            key="samson",
            title="Samson",
            sensor="SAMSON",
            cube=File(
                "samson_1.mat",
                "V",
                "1ebacaf7cd32bfc31c0ee3fd56c63a7f29a434893a8b45705fb59cd8a0c8beb6",
            ),
            shape=(95, 95, 156),
            endmembers=3,
            page=UNMIXING_PAGE,
            folder="samson",
            wavelengths=band_centres.samson,
            wavelength_source="nominal, equal steps from 401 to 889 nm",
        ),
        Entry(
            key="jasper-ridge",
            title="Jasper Ridge",
            sensor="AVIRIS",
            cube=File(
                "jasperRidge2_R198.mat",
                "Y",
                "0e4118a6452f6044978a8ca3762fb0f791115467904936d463c4e111e56e682e",
            ),
            shape=(100, 100, 198),
            endmembers=4,
            page=UNMIXING_PAGE,
            folder="jasper_ridge",
            wavelengths=band_centres.jasper_ridge,
            wavelength_source="nominal, 224 equal steps from 380 to 2500 nm, the channels kept",
        ),
    )
}


# The server of the whole scenes refuses programs; crops of three of them lie in public repositories, here as they were
# at the commits that were read. Sensor, bands, scale and the numbers of the classes are the whole scene's. D is
# the number of classes that occur; for a crop without labels, the whole scene's (HySime, clamped to 3 to 16, finds 8 in
# Salinas and 16 in Pavia Centre; with the whole scene's D each endmember is in 3 % of the pixels or more).
SALINAS_CROP = "fverdoja/LAD-Laplacian-Anomaly-Detector", "d04817b6be3bb97d834a82f8d59b3cdae4f3ba83"
SALINAS_A = "carlosh93/SC-SSC", "2cd679282f85aa0bc87b1aed9ac683b60cc97734"
PAVIA_CROP = (
    "WuZhaoyue/Hyperspectral-Anomaly-Detection-With-Relaxed-Collaborative-Representation",
    "e2a95a807d365d54cbc5b1b1bc2120273d8dc308",
)
PAVIA_UNIVERSITY_CROP = (
    "jorgebaccauis/Coded-Aperture-Design-for-Compressive-Spectral-Subspace-Clustering",
    "73e2f90651f32904b33eadc7acc2911b6d48653d",
)
SALINAS_A_CUBE = File(
    "SalinasA_with_labels.mat",
    "salinasA_corrected",
    "cd3bc598c2a2cec6561757b6e67d281c55ad408f9d7cfc708f6777cef97f5158",
    _github(*SALINAS_A, "Data/ROI/SalinasA.mat"),
)
PAVIA_UNIVERSITY_CROP_CUBE = File(
    "paviaU_crop_140x80_with_labels.mat",
    "paviaU",
    "a86d1bf7c4dc03614a1000aef682e71b481c22f193e2542e3f80b1b0adf41f82",
    _github(*PAVIA_UNIVERSITY_CROP, "DataBases/UPavia_Subset.mat"),
)

CATALOGUE |= {
    entry.key: entry
    for entry in (
        replace(
            CATALOGUE["salinas"],
            key="salinas-crop",
            title="Salinas, a crop",
            cube=File(
                "salinas_crop_126x150.mat",
                "X",
                "10ee254b4724abfd88f49cfc63c546672cac5ff7e4fdedf18a6bf839cc096da3",
                _github(*SALINAS_CROP, "data/salinas/salinas_impl_14.mat"),
            ),
            shape=(126, 150, 204),
            page=f"{GITHUB}/{SALINAS_CROP[0]}",
            labels=None,
            label_names=None,
            altered=File(  # where anomalies were implanted: 185 pixels
                "salinas_crop_126x150_altered.mat",
                "gt",
                "e826d51e1f31fddece6c3cb7b53f7ec6a47605842cc009fbd56ce0e7d3fd4629",
                _github(*SALINAS_CROP, "data/salinas/salinas_impl_gt.mat"),
            ),
        ),
        replace(
            CATALOGUE["salinas"],
            key="salinas-a",
            title="Salinas-A",
            cube=SALINAS_A_CUBE,
            shape=(83, 86, 204),
            endmembers=6,  # classes 1 and 10 to 14
            page=f"{GITHUB}/{SALINAS_A[0]}",
            labels=replace(SALINAS_A_CUBE, variable="salinasA_gt"),
        ),
        # The anomalies that its repository marks are vehicles, not alterations: they are no mask.
        replace(
            CATALOGUE["pavia-centre"],
            key="pavia-crop",
            title="Pavia Centre, a crop",
            cube=File(
                "pavia_centre_crop_105x120.mat",
                "PaviaCenter",
                "177474d4086f12e294bb34d2a22c082923bdd3f581b7fa9889709f51399c60a4",
                _github(*PAVIA_CROP, "data and AUC/dataPavia.mat"),
            ),
            shape=(105, 120, 102),
            page=f"{GITHUB}/{PAVIA_CROP[0]}",
            labels=None,
            label_names=None,
        ),
        replace(
            CATALOGUE["pavia-university"],
            key="pavia-university-crop",
            title="Pavia University, a crop",
            cube=PAVIA_UNIVERSITY_CROP_CUBE,
            shape=(140, 80, 103),
            endmembers=8,  # of the nine classes, gravel does not occur
            page=f"{GITHUB}/{PAVIA_UNIVERSITY_CROP[0]}",
            labels=replace(PAVIA_UNIVERSITY_CROP_CUBE, variable="paviaU_gt"),
        ),
    )
}


def find_entry(
    name: str, function: str = "find_entry", argument: str = "name", else_: str = ""
) -> Entry:
    """The catalogue's entry of this name; case, spaces and underscores don't matter.

    The other arguments word the error for the function that asks.

    Raises
    ------
    ValueError
        If there is none; the message names close matches and the whole list.

    Examples
    --------
    >>> find_entry("Indian_Pines").endmembers
    16
    """
    key = _plain(name)
    if key in CATALOGUE:
        return CATALOGUE[key]
    close = difflib.get_close_matches(key, CATALOGUE, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(
        f"{function}: `{argument}` must be {else_}one of {', '.join(CATALOGUE)}, got {name!r}{hint}"
    )


def is_name(name: str) -> bool:
    """Does the catalogue have it?"""
    return _plain(name) in CATALOGUE


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def recognise(variable: str | None, shape: tuple[int, ...]) -> Entry | None:
    """The entry whose file has a variable of this name and a cube of this shape."""
    for entry in CATALOGUE.values():
        if entry.cube.variable == variable and entry.shape == tuple(shape):
            return entry
    return None
