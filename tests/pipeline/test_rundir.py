"""The folder of a run: resumed, refused or replaced, and never anybody else's files lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hud_fast.pipeline.errors import InputError, one_line, user_input
from hud_fast.pipeline.rundir import claim, fingerprint, lock, read_json, write_json

SETTINGS = {"preset": "tiny", "size": (8, 8), "steps": None}


def unfinished(folder: Path) -> None:
    """An earlier run that got as far as a checkpoint."""
    claim(folder, SETTINGS)
    (folder / "checkpoints").mkdir()


def test_a_new_folder_is_made(tmp_path: Path) -> None:
    run = claim(tmp_path / "a" / "b", SETTINGS)
    record = read_json(tmp_path / "a" / "b" / "run.json")
    assert record["status"] == "running"
    assert record["settings"]["size"] == [8, 8]
    assert not run.resumed


def test_the_same_settings_resume(tmp_path: Path) -> None:
    unfinished(tmp_path)
    run = claim(tmp_path, SETTINGS)
    assert run.resumed
    with run.stage("training"):
        pass
    again = claim(tmp_path, SETTINGS)
    before = again.timings["training"]
    with again.stage("training"):
        pass
    assert again.timings["training"] >= before


def test_time_of_an_interrupted_stage_is_kept(tmp_path: Path) -> None:
    run = claim(tmp_path, SETTINGS)
    with pytest.raises(KeyboardInterrupt), run.stage("training"):
        raise KeyboardInterrupt
    assert "training" in read_json(tmp_path / "run.json")["timings"]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    unfinished(tmp_path)
    with pytest.raises(InputError, match=r"unfinished run with preset = tiny, not small: give the"):
        claim(tmp_path, {**SETTINGS, "preset": "small"})


def test_a_run_that_made_nothing_does_not_stand_in_the_way(tmp_path: Path) -> None:
    claim(tmp_path, SETTINGS)
    assert not claim(tmp_path, {**SETTINGS, "preset": "small"}).resumed


def test_a_finished_run_needs_overwrite(tmp_path: Path) -> None:
    unfinished(tmp_path)
    claim(tmp_path, SETTINGS).finish(memory={"cpu": 1})
    assert not (tmp_path / "checkpoints").exists()
    with pytest.raises(InputError, match=r"holds a finished run: .*--overwrite"):
        claim(tmp_path, SETTINGS)
    assert not claim(tmp_path, {"preset": "paper"}, overwrite=True).resumed


def test_foreign_files_are_refused_and_survive_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"not empty and holds no run \(for example thesis.tex\)"):
        claim(tmp_path, SETTINGS)
    claim(tmp_path, SETTINGS, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_broken_or_foreign_record(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json cannot be read as JSON"):
        claim(tmp_path, SETTINGS)
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(InputError, match=r"is not of a hud-fast run"):
        claim(tmp_path, SETTINGS)


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"is a file: --out must be a folder"):
        claim(tmp_path / "file", SETTINGS)
    with pytest.raises(InputError, match=r"part of this path is a file"):
        claim(tmp_path / "file" / "run", SETTINGS)
    with pytest.raises(InputError, match=r"cannot write to /proc/nothing"):
        claim("/proc/nothing", SETTINGS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot write to .*Permission denied"):
        claim(tmp_path, SETTINGS)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        lock(tmp_path),
        pytest.raises(InputError, match=r"another hud-fast run is writing"),
        lock(tmp_path),
    ):
        pass
    with lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_json_holds_numpy_and_no_nan(tmp_path: Path) -> None:
    write_json(
        tmp_path / "a.json",
        {"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": tmp_path, "e": (1,)},
    )
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert read == {"a": 0.5, "b": [0, 1], "c": None, "d": str(tmp_path), "e": [1]}


def test_fingerprint_sees_values_and_shape() -> None:
    cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert fingerprint(cube) == fingerprint(cube.copy())
    assert fingerprint(cube) != fingerprint(cube.reshape(3, 2, 4))
    assert fingerprint(cube) != fingerprint(cube + 1)


def test_errors_in_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    with pytest.raises(InputError, match=r"^x.mat: Permission denied$"), user_input():
        raise PermissionError(13, "Permission denied", "x.mat")
    with pytest.raises(RuntimeError), user_input():
        raise RuntimeError("not the user's")
