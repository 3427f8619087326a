from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hud_fast.diffusion import HUD
from hud_fast.pipeline import SampleOptions, sample_model
from hud_fast.pipeline.cubes import read_cubes
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.zarr_cubes import writing_zarr
from hud_fast.scenes import simulate_scene

OPTIONS = SampleOptions(samples=3, size=(8, 12), sampler_steps=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zarr") / "model"
    scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    HUD.fit(scene, endmembers=3, preset="tiny", steps=1, device="cpu").save(folder)
    return folder


def test_cubes_as_a_zarr_group(model: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    shape = sample_model(model, tmp_path / "cubes.zarr", OPTIONS, seed=4, device="cpu")
    known = HUD.load(model, device="cpu")
    cubes, maps = known.sample(3, seed=4, size=(8, 12), steps=2, return_abundances=True)
    group = zarr.open_group(tmp_path / "cubes.zarr", mode="r")
    assert shape == group["generated"].shape == (3, 8, 12, 12)
    assert group["generated"].chunks == (1, 8, 12, 12)
    assert group["generated"].metadata.dimension_names == ("sample", "row", "column", "band")
    np.testing.assert_array_equal(group["generated"][:], cubes * np.float32(known.scene.scale))
    np.testing.assert_array_equal(group["abundances"][:], maps)
    np.testing.assert_allclose(group["endmembers"][:] / known.scene.scale, known.endmembers, 1e-6)
    np.testing.assert_array_equal(group["wavelength"][:], known.wavelengths)
    np.testing.assert_array_equal(read_cubes(tmp_path / "cubes.zarr"), group["generated"][:])
    with pytest.raises(InputError, match=r"cubes.zarr exists"):
        sample_model(model, tmp_path / "cubes.zarr", OPTIONS, device="cpu")
    sample_model(model, tmp_path / "cubes.zarr", OPTIONS, seed=5, device="cpu", overwrite=True)
    assert not np.array_equal(read_cubes(tmp_path / "cubes.zarr"), cubes)
    assert [path.name for path in tmp_path.iterdir()] == ["cubes.zarr"]
    for name in ("notes.txt", "generated/notes.txt", "other/zarr.json"):
        mine = tmp_path / "cubes.zarr" / name
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
        with pytest.raises(InputError, match=rf"cubes.zarr holds other files \({name}\)"):
            sample_model(model, tmp_path / "cubes.zarr", OPTIONS, device="cpu", overwrite=True)
        assert mine.read_text() == "mine"
        mine.unlink()


def test_errors(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr")
    known = HUD.load(model, device="cpu")
    with (
        pytest.raises(RuntimeError, match=r"cubes.zarr: 1 of 2 cubes were written"),
        writing_zarr(tmp_path / "cubes.zarr", known, (2, 8, 8, 12)) as write,
    ):
        write(np.zeros((1, 8, 8, 12), np.float32), np.zeros((1, 8, 8, 3), np.float32))
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine.zarr").mkdir()
    for facts in (None, {"zarr_format": 3, "attributes": {"title": "mine"}}):
        if facts is not None:
            (tmp_path / "mine.zarr" / "zarr.json").write_text(json.dumps(facts))
        with pytest.raises(InputError, match="is no Zarr group that hud-fast wrote"):
            sample_model(model, tmp_path / "mine.zarr", OPTIONS, device="cpu", overwrite=True)
    with pytest.raises(InputError, match=r"--format mat needs a folder"):
        sample_model(model, tmp_path / "b.zarr", SampleOptions(format="mat"), device="cpu")
    with pytest.raises(InputError, match=r"mine\.zarr"):
        read_cubes(tmp_path / "mine.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"needs the package zarr.*hud-fast\[zarr\]"):
        sample_model(model, tmp_path / "new.zarr", OPTIONS, device="cpu")
