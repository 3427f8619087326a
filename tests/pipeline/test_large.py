"""Scenes that are unmixed in parts: the same endmembers and abundances as in memory, on threads and on a cluster."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast import cli, load_scene, save_scene, simulate_scene, vca
from hud_fast._pool import Pool, pool_of
from hud_fast.pipeline import ModelOptions, SceneOptions, large, unmix_scene
from hud_fast.pipeline.errors import InputError
from hud_fast.scenes import SceneBlocks, open_scene
from hud_fast.unmixing import pixels
from hud_fast.unmixing.moments import moments
from hud_fast.unmixing.pixels import Pixels

SCENE = simulate_scene(90, 70, C=24, D=4, seed=3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "BLOCK_VALUES", 20_000)  # some twelve rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    cube = np.rint(SCENE.cube * 10_000)
    cube[:5, :9] = 0  # no data
    good = np.ones(24, bool)
    good[7] = False
    scene = SCENE.replace(cube=cube, dtype=np.int16, truth=None, good_bands=good)
    return save_scene(scene, tmp_path / "field.hdr")


def unmixed(path: Path, out: Path, **how: Any) -> dict[str, Any]:
    options = ModelOptions(endmembers=how.pop("endmembers", 4), device="cpu")
    return unmix_scene(str(path), out, model_options=options, figures=False, **how)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hud_fast.pipeline.memory.Need.fits", lambda _: False)


def test_in_parts_as_in_memory(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = unmixed(path, tmp_path / "here")
    monkeypatch.setattr("hud_fast.pipeline.memory.Need.fits", lambda _: False)
    parts = unmixed(path, tmp_path / "parts")
    assert parts == {
        **here,
        **{k: pytest.approx(here[k], rel=1e-9) for k in here if type(here[k]) is float},
    }
    for name in ("abundances.npy", "endmembers.npy"):
        a, b = (np.load(tmp_path / folder / name) for folder in ("here", "parts"))
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        load_scene(tmp_path / "parts" / "abundances.hdr").cube,
        load_scene(tmp_path / "here" / "abundances.hdr").cube,
    )
    assert parts["left_out"] == 45


@pytest.mark.filterwarnings("ignore:45 pixels hold 0")
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own
@pytest.mark.usefixtures("in_parts")
def test_maps_of_a_tiled_file_by_rows(tmp_path: Path, path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    scene = load_scene(path, no_data="none")
    profile = {"driver": "GTiff", "height": 90, "width": 70, "count": 24, "dtype": "int16"}
    with rasterio.open(
        tmp_path / "f.tif", "w", **profile, tiled=True, blockxsize=32, blockysize=32,
        transform=rasterio.transform.from_origin(500_000, 4_000_000, 30, 30), crs="EPSG:32633",
    ) as file:  # fmt: skip
        file.write(np.moveaxis(scene.cube, 2, 0).astype(np.int16))
    blocks = SceneBlocks(open_scene(tmp_path / "f.tif"))
    assert any(columns != slice(0, 70) for _, columns in blocks.parts(20_000))
    unmixed(tmp_path / "f.tif", tmp_path / "maps", kind="gtiff")
    with rasterio.open(tmp_path / "maps" / "abundances.tif") as file:
        assert file.crs.to_epsg() == 32633
        assert file.descriptions == tuple(f"endmember_{d}" for d in range(1, 5))
        maps = np.moveaxis(file.read(), 0, 2)
    np.testing.assert_array_equal(maps, np.load(tmp_path / "maps" / "abundances.npy"))
    shares = maps[~np.isnan(maps).any(-1)].sum(-1)
    assert len(shares) == 90 * 70 - 45
    np.testing.assert_allclose(shares, 1, atol=1e-6)


def test_the_search_in_parts_finds_the_same_pixels(path: Path) -> None:
    scene = load_scene(path).drop_bad_bands()
    blocks = SceneBlocks(open_scene(path))
    with pool_of(2) as pool:
        reader = Pixels("f", blocks, blocks.valid, pool=pool)
        stats = moments(reader)
    whole = moments(Pixels("f", scene.cube, scene.valid))
    assert stats.count == whole.count == 90 * 70 - 45
    np.testing.assert_allclose(stats.covariance, whole.covariance, rtol=1e-9, atol=1e-15)
    index = vca(scene.cube, 4, best_of=4, mask=scene.valid, return_index=True)[1]
    np.testing.assert_array_equal(blocks.take(index), scene.pixels[index])
    assert blocks.parts(20_000)[0][1] == slice(0, 70)


def test_what_needs_the_scene_in_memory_is_refused(
    tmp_path: Path, path: Path, in_parts: None
) -> None:
    with pytest.raises(InputError, match=r"--format must be one of npy, .* got mat"):
        unmixed(path, tmp_path / "a", kind="mat")
    options = ModelOptions(endmembers=4, fine_tune=True, device="cpu")
    with pytest.raises(InputError, match=r"--fine-tune needs the scene in memory"):
        unmix_scene(str(path), tmp_path / "b", model_options=options)
    with pytest.raises(InputError, match=r"--endmembers must be from 1 to 23 .* got 24"):
        unmixed(path, tmp_path / "c", endmembers=24)
    assert not (tmp_path / "c" / "abundances.npy").exists()


def test_a_library_and_kept_spectra_in_parts(tmp_path: Path, path: Path, in_parts: None) -> None:
    spectra = np.vstack([np.r_[400:424], SCENE.truth.endmembers[:2] * 10_000]).T  # type: ignore[union-attr]
    np.savetxt(
        tmp_path / "own.csv", spectra, delimiter=",", header="wavelength_nm,soil,water", comments=""
    )
    scene = SceneOptions(wavelengths=str(tmp_path / "own.csv"))
    given = np.linspace(400, 423, 24)
    np.save(tmp_path / "w.npy", given)
    scene = SceneOptions(wavelengths=str(tmp_path / "w.npy"))
    for options, names in (
        (ModelOptions(library=str(tmp_path / "own.csv")), ["soil", "water"]),
        (
            ModelOptions(endmembers=3, keep=str(tmp_path / "own.csv")),
            ["soil", "water", "endmember_3"],
        ),
    ):
        out = tmp_path / f"out{len(names)}"
        numbers = unmix_scene(
            str(path), out, scene_options=scene, model_options=options, figures=False
        )
        assert numbers["names"] == names
        kept = np.load(out / "endmembers.npy")
        np.testing.assert_allclose(kept[0], np.delete(spectra[:, 1], 7), rtol=1e-5)


def test_blocks_go_to_another_process_by_name(path: Path) -> None:
    reopen = partial(large.reopened, str(path), SceneOptions())
    blocks = SceneBlocks(open_scene(path), scale=2.0, reopen=reopen)
    again = pickle.loads(pickle.dumps(Pixels("f", blocks, blocks.valid)))
    part = slice(3, 9), slice(0, 70)
    np.testing.assert_array_equal(again.values(part), blocks[part].reshape(-1, 23))
    assert len(pickle.dumps(blocks)) < 2000
    with pytest.raises(TypeError, match="cannot go to another process"):
        pickle.dumps(SceneBlocks(open_scene(path)))


def test_results_come_in_order_and_few_wait() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        return number

    with pool_of(2) as pool:
        results = pool.in_order(work, ((i,) for i in range(40)))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        assert len(started) <= 10
        assert list(results) == list(range(3, 40))
    assert isinstance(pool, Pool)


@pytest.mark.filterwarnings("ignore")  # of what dask's processes leave open
def test_a_cluster_gives_the_same(tmp_path: Path, path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    here = unmixed(path, tmp_path / "here")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        there = unmixed(path, tmp_path / "there", scheduler=cluster.scheduler_address)
    assert there["reconstruction_cosine"] == pytest.approx(here["reconstruction_cosine"], rel=1e-9)
    a, b = (np.load(tmp_path / folder / "abundances.npy") for folder in ("here", "there"))
    np.testing.assert_array_equal(a, b)


def test_no_scheduler_there(tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    command = ["unmix", str(path), "--endmembers", "4", "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--scheduler", "nonsense"]) == 2
    assert "--scheduler" in capsys.readouterr().err
    assert not (tmp_path / "out" / "unmixing.json").exists()


def test_figures_of_a_thinned_copy(
    tmp_path: Path, path: Path, in_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "SHOWN", 30)
    options = ModelOptions(endmembers=4, device="cpu")
    unmix_scene(str(path), tmp_path / "out", model_options=options)
    drawn = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {"abundance_maps.png", "endmembers.png", "residual_map.png"}
    numbers = json.loads((tmp_path / "out" / "unmixing.json").read_text())
    assert numbers["pixels"] == 90 * 70 - 45  # all of them, however few are drawn
