"""The command line in two processes: one voice, one exit code, the same files as one process makes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from launch import launch
from torch.distributed import HashStore, Store

from hud_fast import cli
from hud_fast.cli import together
from hud_fast.scenes import save_scene, simulate_scene

SMALL = ["--endmembers", "3", "--steps", "2", "--device", "cpu", "--threads", "1"]
SMALL += [
    "--set",
    "widths=8,8",
    "--set",
    "attention=no,no",
    "--set",
    "crop=16",
    "--set",
    "layers=1",
]
FEW = ["--samples", "5", "--size", "16", "--sampler-steps", "2"]


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scene") / "field.mat"
    save_scene(simulate_scene(40, 40, C=20, D=3, seed=0), path)
    return str(path)


def torchrun(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a folder of its own: in the root the source tree would be imported, without a compiled _C."""
    return subprocess.run(
        [
            *(sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "hud_fast", *arguments),
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


# What is compared are the cubes: most of a small run's time goes into the drawing.
FEW_FIGURES = """
import sys
from hud_fast import cli
from hud_fast.pipeline import run
from hud_fast.report import training_curve

run.run_figures = lambda *_: {"training_curve": training_curve([{"step": 1, "loss": 1.0}])}
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_run_then_sample_under_torchrun(tmp_path: Path, scene_file: str) -> None:
    out = tmp_path / "run"
    done = torchrun("run", scene_file, "--out", str(out), *SMALL, *FEW, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Report: {out / 'report.html'}"
    for line in ("Point fidelity", "Report: "):
        assert done.stdout.count(line) == 1
    for line in ("Reading the scene ...", "Training the diffusion", "Drawing the report ..."):
        assert done.stderr.count(line) == (2 if line.startswith("Training") else 1)  # begun, done
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["model", "generated", "figures", "metrics.json", "report.html", "run.json"]
    )
    # What one process makes of the same model, and of the same scene; of one thread, as each of several has: another
    # number rounds differently.
    again = ["sample", str(out), "--count", "5", "--size", "16", "--sampler-steps", "2"]
    again += ["--out", str(tmp_path / "alone.npy"), "--device", "cpu", "--threads", "1"]
    assert cli.main(again) == 0
    np.testing.assert_array_equal(
        np.load(out / "generated" / "generated.npy"), np.load(tmp_path / "alone.npy")
    )
    one = str(tmp_path / "one")
    (alone,) = launch("-c", FEW_FIGURES, "run", scene_file, "--out", one, *SMALL, *FEW, count=1)
    assert alone.code == 0, alone.err
    np.testing.assert_allclose(
        np.load(out / "generated" / "generated.npy"),
        np.load(tmp_path / "one" / "generated" / "generated.npy"),
        rtol=1e-3,
    )


def test_a_taken_folder_is_told_once(tmp_path: Path, scene_file: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    first, second = launch("-m", "hud_fast", "fit", scene_file, "--out", str(tmp_path / "model"))
    assert (first.code, second.code) == (2, 2)
    assert first.err.splitlines() == [
        f"Error: {tmp_path / 'model'} exists: choose another --out, or give --overwrite to replace it"
    ]
    assert (first.out, second.out, second.err) == ("", "", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "notes.txt"]


@pytest.mark.slow
def test_a_wrong_option_is_told_once() -> None:
    first, second = launch("-m", "hud_fast", "sample", "nothing", "--nonsense")
    assert (first.code, second.code) == (2, 2)
    assert first.err.startswith("Error: No such option: --nonsense")
    assert len(first.err.splitlines()) == 1
    assert (first.out, second.out, second.err) == ("", "", "")


@pytest.mark.slow
def test_commands_that_gain_nothing_run_in_the_first() -> None:
    first, second = launch("-m", "hud_fast", "info")
    assert (first.code, second.code) == (0, 0)
    assert first.out.startswith("Versions")
    assert (first.err, second.out, second.err) == ("", "", "")


LONE = """
import os, sys
from hud_fast import cli
from hud_fast.cli import together
from hud_fast.diffusion.memory import OutOfMemory
from hud_fast.diffusion.training import Trainer

def step(self, step=Trainer.step):
    if self.done == 1 and os.environ["RANK"] == sys.argv[1]:
        raise OutOfMemory("HUD: out of memory; lower something")
    step(self)

Trainer.step, together.ALONE = step, 2.0
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_alone_ends_all(tmp_path: Path, scene_file: str, rank: int) -> None:
    done = launch("-c", LONE, str(rank), "fit", scene_file, "--out", str(tmp_path / "m"), *SMALL)
    assert [one.code for one in done] == [1, 1]
    who = "Process 1 of 2: " if rank else ""
    assert done[rank].err.splitlines()[-1] == f"{who}Error: HUD: out of memory; lower something"
    assert not [line for line in done[1 - rank].err.splitlines() if line.startswith("Error")]
    assert not (tmp_path / "m").exists()


def agreed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *ends: tuple[int, str]
) -> tuple[list[int], list[str]]:
    """Exit codes, and the lines told, of processes that end with codes and texts `ends`, the last one first."""
    store: Store = HashStore()
    store.set_timeout(timedelta(seconds=10))
    monkeypatch.setattr(together, "ALONE", 0.5)
    monkeypatch.setattr(together, "LEAVING", 0.5)
    here = threading.local()
    monkeypatch.setattr(together, "told", lambda name: here.rank if name == "RANK" else len(ends))
    codes = [-1] * len(ends)

    def end(rank: int) -> None:
        here.rank = rank
        codes[rank] = together._agree(store, *ends[rank])

    threads = [threading.Thread(target=end, args=(rank,)) for rank in reversed(range(len(ends)))]
    for thread in threads:
        thread.start()
        thread.join(0 if thread is not threads[-1] else 10)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return codes, capsys.readouterr().err.splitlines()


def test_the_first_one_speaks_and_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    same = (2, "Error: taken")
    assert agreed(monkeypatch, capsys, same, same, same) == ([2, 2, 2], ["Error: taken"])
    assert agreed(monkeypatch, capsys, (0, ""), (0, "")) == ([0, 0], [])
    # the first one failed by itself, and what the other waited for broke
    assert agreed(monkeypatch, capsys, (1, "Error: disk full"), (1, "Error: peer closed")) == (
        [1, 1],
        ["Error: disk full"],
    )


def test_a_failure_of_another_process_alone_is_told_by_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store: Store = HashStore()
    monkeypatch.setattr(together, "ALONE", 0.1)
    monkeypatch.setattr(together, "LEAVING", 0.1)
    told = {"RANK": 1, "WORLD_SIZE": 2}
    monkeypatch.setattr(together, "told", told.__getitem__)
    assert together._agree(store, 1, "Error: out of memory") == 1
    told["RANK"] = 0  # it waited for the other's gradients
    assert together._agree(store, 3, "Error: connection closed by peer") == 1
    assert capsys.readouterr().err == "Process 1 of 2: Error: out of memory\n"
