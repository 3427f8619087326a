"""The groups run, in miniature; what they leave; what is said when something is not there."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launch import own_pytest

from hud_fast import cli
from hud_fast.bench import GROUPS, cases_of, inputs, peers, run_groups
from hud_fast.bench.case import Missing
from hud_fast.bench.run import commit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without_real_scenes(monkeypatch):
    """No large scenes: the simulated ones do for these tests."""
    monkeypatch.setattr("hud_fast.bench.inputs.indian_pines", lambda: None)
    monkeypatch.setattr("hud_fast.bench.inputs.real", lambda: None)


def plain(text):
    return " ".join(re.sub(r"[│┃━─┏┓┗┛┡┩├┤└┘┬┴┼╇╈┳┻┯┷]", " ", text).split())


def test_a_quick_run_prints_and_writes(tmp_path, capsys, without_real_scenes):
    out = tmp_path / "bench"
    assert cli.main(["bench", "--quick", "--groups", "fcls,levels", "--out", str(out)]) == 0
    shown = plain(capsys.readouterr().out)
    assert re.search(r"C=103 D=9 ours [\d.]+ [kM]pixel/s, error \de-1\d", shown)
    assert "Indian Pines is not at hand" in shown
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    assert results["quick"]
    assert results["machine"]["isa"] in results["machine"]["isa levels"]
    assert {"torch", "numpy", "spams-bin", "faiss-cpu"} <= set(results["versions"])
    case = next(c for c in results["cases"] if c["case"] == "C=103 D=9" and c["group"] == "fcls")
    assert case["facts"] == {"P": 2000, "C": 103, "D": 9}
    ours = next(r for r in case["results"] if r["provider"] == "ours")
    assert ours["median_s"] > 0
    assert ours["iqr_s"] >= 0
    assert ours["rounds"] >= 5
    assert ours["error"] <= 1e-12
    assert not ours["wrong"]
    assert {c["group"] for c in results["cases"]} == {"fcls", "levels"}


@pytest.mark.parametrize("name", ["ABU airport", "Jasper Ridge"])
def test_a_real_scene_that_is_not_at_hand_is_told(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HUD_FAST_DATA", str(tmp_path))
    monkeypatch.setattr(
        importlib.import_module("hud_fast.scenes.fetch"), "at_hand", lambda _: False
    )
    inputs.of_users.cache_clear()
    case = next(c for c in cases_of("fcls") if c.name.startswith(name))
    (missing,) = case.make(True).runs.values()
    assert isinstance(missing, Missing)
    assert missing.why.startswith(f"{name} is not at hand (")


def test_scaling_curves_are_drawn(tmp_path, monkeypatch, capsys, without_real_scenes):
    # A full scaling run takes minutes: the same curves with the sizes of the quick one.
    from hud_fast.bench import run

    monkeypatch.setattr(run, "GROUPS", ("scaling",))
    every = cases_of("scaling")
    chosen = [case for case in every if case.name.startswith(("PaviaU-size, P", "peak"))][:5]
    monkeypatch.setattr(run, "cases_of", lambda *_: chosen)
    assert cli.main(["bench", "--quick", "--groups", "scaling", "--out", str(tmp_path)]) == 0
    picture = tmp_path / "cosine-max-against-the-scene-s-pixels-paviau-size.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = plain(capsys.readouterr().out)
    assert re.search(r"torch-matmul 399 to 3192 pixels of the scene -?\d\.\d\d", shown)


def test_a_peer_that_is_not_installed_is_said_to_be_so(monkeypatch, capsys, without_real_scenes):
    load = peers.load
    hidden = set(peers.PEERS) | {"daal4py"}
    monkeypatch.setattr(peers, "load", lambda name: None if name in hidden else load(name))
    assert cli.main(["bench", "--quick", "--groups", "fcls"]) == 0
    shown = plain(capsys.readouterr().out)
    assert "spams not installed (pip install spams-bin)" in shown
    assert re.search(r"scipy-nnls [\d.]+ kpixel/s", shown)


def test_a_wrong_answer_of_ours_ends_in_an_error(monkeypatch, capsys, without_real_scenes):
    import hud_fast.kernels as kernels

    right = kernels.fcls
    monkeypatch.setattr(kernels, "fcls", lambda y, A, **k: right(y, A, **k)[:, ::-1])
    assert cli.main(["bench", "--quick", "--groups", "fcls"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"Error: wrong or missing answers: fcls, C=103 D=9, ours: error \d", shown.err)
    assert "WRONG" in shown.out


def test_groups_by_name():
    with pytest.raises(
        ValueError,
        match=r"`groups` must be among fcls, .*notes, busy, got 'fcl'; did you mean fcls\?",
    ):
        run_groups(["fcl"])


@pytest.mark.parametrize("group", GROUPS)
def test_names_are_unique_and_providers_start_with_ours(group):
    cases = cases_of(group)
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.group == group for case in cases)
    assert (ROOT / "benchmarks" / f"test_{group}.py").is_file()
    if group not in ("levels", "notes", "busy"):
        assert all(case.providers[0] == "ours" for case in cases)


def test_quick_cases_are_a_part_and_readme_has_its_own():
    assert sum(len(cases_of(group, quick=True)) for group in GROUPS) < 40
    headlines = [case for group in GROUPS for case in cases_of(group) if case.headline]
    assert 8 <= len(headlines) <= 28


def test_threads_are_put_back():
    import torch

    before = torch.get_num_threads()
    with peers.threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_peak_memory_in_a_process_of_its_own():
    from hud_fast.bench.scaling import peak_bytes

    ballast = bytes(1 << 28)  # what this process holds is not the other's
    assert 1 << 20 < peak_bytes(20_000, None) < 1 << 28
    assert len(ballast) == 1 << 28


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_commit():
    """Of the source tree that the package runs from; a plain install has none."""
    from hud_fast import bench

    source = Path(bench.__file__).resolve().parent == ROOT.resolve() / "hud_fast" / "bench"
    found = commit()
    assert re.fullmatch(r"[0-9a-f]{40}\+?", found or "") if source else found is None


@pytest.mark.slow
def test_the_benchmarks_collect_and_their_answers_are_right():
    """Once through pytest-benchmark's wrappers, untimed and on small inputs."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "benchmarks"],
        cwd=ROOT,
        env=own_pytest(),  # a second -q there would swallow the count below
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout)
