"""The folder of a run: resumed, refused or replaced, and never anybody else's files lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from hud_fast.pipeline.errors import InputError, one_line, user_input
from hud_fast.pipeline.places import Gone, check_json, lock, lock_beside
from hud_fast.pipeline.rundir import (
    OURS,
    claim,
    fingerprint,
    read_json,
    remove_checkpoints,
    settle,
    withdraw,
    write_json,
)

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


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", OURS[:-1])
def test_what_bears_our_names_in_a_folder_without_a_run_stays(
    tmp_path: Path, name: str, overwrite: bool
) -> None:
    if "." in name:
        (tmp_path / name).write_text("mine")
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious.txt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(InputError, match=rf"holds no run .*but {name}, .*: choose another --out"):
        claim(tmp_path, SETTINGS, overwrite=overwrite)
    assert content(tmp_path) == before
    assert not (tmp_path / "run.json").exists()


def content(folder: Path) -> dict[str, str | None]:
    """Every file with its text, every folder; `.lock` apart."""
    return {
        str(p.relative_to(folder)): p.read_text("latin-1") if p.is_file() else None
        for p in folder.rglob("*")
        if p.name != ".lock"
    }


def finished(folder: Path) -> None:
    """A run with all that it writes, also what a killed one leaves half written."""
    run = claim(folder, SETTINGS)
    for name in (
        "model/config.json",
        "model/network.safetensors",
        "model/statistics.safetensors",
        "generated/abundances.npy",
        "generated/cube-000.hdr",
        "generated/cube-000.img",
        "figures/panels.png",
        "figures/power_spectra.png",
        "metrics.json",
        "report.html",
        "evaluation.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    np.save(folder / "generated" / "generated.npy", np.ones((1, 2, 2, 3), np.float32))
    run.finish()
    (folder / "checkpoints").mkdir()
    for name in ("step-0000000100.safetensors", ".step-0000000200-hud-fast-ab12_cd3.safetensors"):
        (folder / "checkpoints" / name).write_text(name)


@pytest.mark.parametrize(
    "name",
    [
        "figures/own.png",
        "figures/old/panels.png",
        "model/notes.txt",
        "generated/cube-notes.txt",
        "checkpoints/precious.txt",
        "checkpoints/step-final.safetensors",
    ],
)
def test_a_file_of_the_users_in_a_folder_of_the_runs_stops_overwrite(
    tmp_path: Path, name: str
) -> None:
    finished(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = content(tmp_path)
    shown = "figures/old" if "old" in name else name
    with pytest.raises(InputError, match=rf"no run wrote \({shown}\), and --overwrite would"):
        claim(tmp_path, SETTINGS, overwrite=True)
    assert content(tmp_path) == before


def test_links_and_other_kinds_under_our_names_stop_overwrite(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.txt").write_text("mine")
    claim(out, SETTINGS)
    (out / "figures").symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"no run wrote \(figures\)"):
        claim(out, SETTINGS, overwrite=True)
    (out / "figures").unlink()
    (out / "metrics.json").mkdir()
    with pytest.raises(InputError, match=r"no run wrote \(metrics.json\)"):
        claim(out, SETTINGS, overwrite=True)
    assert content(elsewhere) == {"precious.txt": "mine"}


def test_a_replaced_run_goes_when_the_new_one_made_something(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, SETTINGS, overwrite=True)
    (tmp_path / "model").mkdir()
    settle(tmp_path)
    assert sorted(content(tmp_path)) == ["model", "notes.txt", "run.json"]


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_replaced_run_comes_back_when_the_new_one_made_nothing(
    tmp_path: Path, checkpoints: bool
) -> None:
    finished(tmp_path)
    before = content(tmp_path)
    claim(tmp_path, {"preset": "paper"}, overwrite=True)
    if checkpoints:
        (tmp_path / "checkpoints").mkdir()  # as a training that is refused leaves it
    settle(tmp_path)
    assert content(tmp_path) == before
    settle(tmp_path)
    assert content(tmp_path) == before


def test_a_process_killed_while_it_replaces_a_run_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before every single renaming, there and back; the next start brings all back."""
    finished(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    before, rename = content(tmp_path), Path.rename
    there = len([name for name in OURS if (tmp_path / name).exists()])

    def stopped_after(count: int) -> None:
        done = 0

        def some(self: Path, target: Path) -> Path:
            nonlocal done
            if done == count:
                raise KeyboardInterrupt
            done += 1
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", some)

    for count in range(there):
        stopped_after(count)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, SETTINGS, overwrite=True)
        stopped_after(min(count, there - 2))
        with contextlib.suppress(KeyboardInterrupt):
            settle(tmp_path)
        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(InputError, match="holds a finished run"):
            claim(tmp_path, SETTINGS)
        assert content(tmp_path) == before, count


def test_what_killed_runs_left_goes_with_the_next_start(tmp_path: Path) -> None:
    """Half-written files of ours, the lock's and the checkpoints' remains; nothing of anybody else's."""
    finished(tmp_path)
    whole = content(tmp_path).keys() - {p for p in content(tmp_path) if p.startswith("check")}
    for name in ("generated", "model", "metrics.json", "run.json", "figures/panels.png"):
        stem, dot, end = name.partition(".")
        at = Path(stem)
        stray = tmp_path / at.parent / f".{at.name}-hud-fast-ab12_cd3{dot}{end}"
        stray.write_text("half") if dot else stray.mkdir()
    mine = {".model-backup_1", ".generated-hud-fast-notes", "figures/.panels-ab12_cd3.png"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="finished run"):
        claim(tmp_path, SETTINGS)
    assert content(tmp_path).keys() == whole | mine


def test_a_folder_taken_away_or_replaced_is_told(tmp_path: Path) -> None:
    for anew in (False, True):
        out = tmp_path / "out"
        with lock(out) as held:
            run = claim(out, SETTINGS)
            run.held = held
            run.stage("training").__enter__()
            shutil.rmtree(out)
            if anew:
                out.mkdir()
            with pytest.raises(Gone, match="out was removed or replaced"), run.stage("drawing"):
                pytest.fail("nothing is drawn")
            with pytest.raises(Gone):
                run.finish()
            assert out.exists() == anew
            withdraw(held, out)
        assert not out.exists() or not any(out.iterdir())


def test_a_command_that_was_refused_leaves_no_trace(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lock(out) as held:
        claim(out, SETTINGS)
        withdraw(held, out)
    assert not out.exists()


def test_checkpoints_go_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    remove_checkpoints(folder)  # none there
    folder.mkdir()
    (folder / "step-0000000100.safetensors").write_text("")
    (folder / "precious.txt").write_text("mine")
    remove_checkpoints(folder)
    assert content(folder) == {"precious.txt": "mine"}
    (folder / "precious.txt").unlink()
    remove_checkpoints(folder)
    assert not folder.exists()


def test_a_broken_or_foreign_record(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json cannot be read as JSON"):
        claim(tmp_path, SETTINGS)
    for text in ("[1]", '{"settings": {}}'):
        (tmp_path / "run.json").write_text(text)
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"is not of a hud-fast run"):
                claim(tmp_path, SETTINGS, overwrite=overwrite)
        assert (tmp_path / "run.json").read_text() == text


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
    with lock(tmp_path):
        for _ in range(2):  # one that was refused takes nothing from the one at work
            with (
                pytest.raises(InputError, match=r"another hud-fast run is writing"),
                lock(tmp_path),
            ):
                pass
        assert (tmp_path / ".lock").exists()
    with lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before ends between our opening its file and our locking it."""
    fcntl = pytest.importorskip("fcntl")
    flock, calls = fcntl.flock, []

    def late(file: IO[str], how: int) -> None:
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock(tmp_path):
        assert len(calls) == 2
        with pytest.raises(InputError, match=r"another hud-fast run"), lock(tmp_path):
            pass


def test_a_lock_is_not_taken_from_who_made_the_folder_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lock(out):
        shutil.rmtree(out)
        with lock(out):
            with pytest.raises(InputError, match="another hud-fast run"), lock(out):
                pass
            assert (out / ".lock").exists()


def test_one_writer_a_file(tmp_path: Path) -> None:
    with lock_beside(tmp_path / "c.npy"):
        for _ in range(2):
            with (
                pytest.raises(InputError, match=r"another hud-fast run is writing to .*c.npy"),
                lock_beside(tmp_path / "c.npy"),
            ):
                pass
        with lock_beside(tmp_path / "d.npy"):
            pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", none)
    with pytest.warns(UserWarning, match="file system without locks"), lock(tmp_path):
        pass


def test_a_json_file_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    check_json(path, "a")
    write_json(path, {"a": 1, "b": 2})
    check_json(path, "a", "b")
    for text in ('{"c": 1}', "[1]", "notes"):
        path.write_text(text)
        with pytest.raises(InputError, match="none that this command wrote"):
            check_json(path, "a")


def test_a_lock_of_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("mine")
    with lock(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "mine"


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


def test_no_result_depends_on_the_clock_on_the_wall() -> None:
    """It may be set back: times are differences of a clock that cannot be. The bench writes its date."""
    package = Path(__file__).parents[2] / "hud_fast"
    read = re.compile(r"time\.time\(|datetime\.now|localtime|st_mtime")
    found = [p for p in package.rglob("*.py") if read.search(p.read_text("utf-8"))]
    assert found == [package / "bench" / "run.py"]
