"""The GPU groups, rehearsed: every case is built and judged on small inputs, whether there is a GPU or not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hud_fast import cli, fcls
from hud_fast.bench import (
    GPU_GROUPS,
    Settings,
    cases_of,
    faults,
    gpu,
    gpu_inputs,
    measure,
    run_groups,
    truth,
)
from hud_fast.bench.gpu import clock, rehearsing
from hud_fast.bench.run import choose_cases

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("group", GPU_GROUPS)
def test_a_rehearsal_judges_every_answer(group):
    cases = cases_of(group, quick=True)
    assert cases, "each group has a case in the short run"
    for case in cases:
        bench = case.build(True)
        assert set(bench.runs) <= set(case.providers)
        for result in measure(bench, Settings(quick=True), clock):
            if result.kind == "ours":
                assert not result.wrong, (case.name, result)


def test_case_names_are_unique():
    for group in GPU_GROUPS:
        names = [case.name for case in cases_of(group)]
        assert len(set(names)) == len(names)


def test_the_command_says_that_it_is_a_rehearsal(tmp_path, capsys):
    arguments = ["bench", "--gpu", "--quick", "--groups", "gpu_memory", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rehearsal"] is rehearsing()
    assert ("A rehearsal on a machine without a GPU" in shown) is rehearsing()
    assert "triton" in results["versions"]
    assert not faults(results)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU")
def test_no_figures_without_a_gpu():
    with pytest.raises(RuntimeError, match="`gpu` needs a GPU, got a machine without one"):
        run_groups(["gpu_memory"], gpu=True)


def test_groups_of_the_other_kind_are_unknown():
    with pytest.raises(ValueError, match=r"`groups` must be among gpu_memory, .* got 'fcls'"):
        run_groups(["fcls"], gpu=True, quick=True)
    with pytest.raises(ValueError, match=r"`groups` must be among fcls, .* got 'gpu_memory'"):
        run_groups(["gpu_memory"], quick=True)


def test_the_headline_cases_are_one_a_search_and_every_pass():
    names = [case.name for case in choose_cases([], gpu=True, headline=True)]
    groups = [case.group for case in choose_cases([], gpu=True, headline=True)]
    for search in ("gpu_fcls", "gpu_cosine_max", "gpu_window_search"):
        assert groups.count(search) == 1
    assert "C=200 D=16" in names
    assert "training step, paper, D=16" in names
    assert groups == sorted(groups, key=GPU_GROUPS.index)


def test_a_group_beyond_its_limit_begins_no_further_case(tmp_path):
    results = run_groups(["gpu_memory", "gpu_fcls"], quick=True, gpu=True, limit=0.0)
    assert [case["group"] for case in results["cases"]] == ["gpu_memory", "gpu_fcls"]
    assert results["left out"] == ["gpu_memory: batch size", "gpu_fcls: C=200 D=32"]
    assert not results["complete"]


def test_a_case_that_cannot_be_built_is_told_and_leaves_the_others(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr("hud_fast.bench.gpu_inputs.mixed_pixels", broken)
    results = run_groups(["gpu_fcls", "gpu_memory"], only="C=103", quick=True, gpu=True)
    (case,) = results["cases"]
    assert case["results"][0]["missing"] == "failed: RuntimeError: CUDA error"
    assert faults(results)


def test_what_compiles_is_left_out_unless_asked_for():
    assert not gpu.compiles()
    with gpu.compiling(True):
        assert gpu.compiles() is not rehearsing()
    assert not gpu.compiles()


def test_inputs_made_on_the_device_are_what_they_should_be():
    pixels, endmembers = gpu_inputs.mixed_pixels(500, 60, 9)
    assert truth.infeasible(fcls(pixels.double(), endmembers).numpy()) < 1e-12
    again, _ = gpu_inputs.mixed_pixels(500, 60, 9)
    assert torch.equal(pixels, again)
    shares = fcls(pixels.double(), endmembers)
    assert 1 <= float((shares > 0.05).sum(1).double().mean()) <= 5
    _, hard = gpu_inputs.mixed_pixels(10, 60, 8, hard=True)
    assert float(((hard[4:] - hard[:4]) / hard[:4]).abs().max()) < 0.02
    scene = gpu_inputs.simulated("Indian-Pines-size", small=True)
    assert float((scene.abundances.sum(1) - 1).abs().max()) < 1e-5
    assert float(scene.abundances.min()) >= 0
    mixed = gpu_inputs.queries(scene, "HUD-like", 50)
    assert np.linalg.matrix_rank(mixed.double().numpy(), tol=1e-4) <= 9
    assert (
        gpu_inputs.queries(scene, "noisy", 50).shape
        == gpu_inputs.queries(scene, "random", 50).shape
    )
    assert gpu_inputs.mixture_blocks(scene, 2, 8).shape == (2, 8, 8, 103)


def test_truths_on_the_device_are_the_suite_s():
    draw = np.random.default_rng(0)
    q, u = draw.normal(size=(9, 6)), draw.normal(size=(50, 6))
    found = gpu_inputs.true_cosine_max(torch.from_numpy(q), torch.from_numpy(u))
    np.testing.assert_allclose(found.numpy(), truth.cosine_max(q, u), rtol=0, atol=1e-14)
    scene, block = draw.random((17, 15, 4)), draw.random((6, 5, 4))
    value = gpu_inputs.true_window_value(torch.from_numpy(block), torch.from_numpy(scene))
    assert value == pytest.approx(truth.window_value(block, scene), abs=1e-14)


# What runs for every pixel, query or block; the others may spill a little.
HOT = ("project", "supports", "finish", "solve", "search", "correlate", "lines", "rows")
RESOURCES = ROOT / "benchmarks/results/gpu-resources.json"


def test_the_hot_cuda_kernels_do_not_spill():
    """As `python benchmarks/gpu_resources.py` counted; one of them spills two registers, once."""
    rows = json.loads(RESOURCES.read_text())["kernels"]
    hot = [row for row in rows if row["kernel"].startswith(HOT)]
    assert len({row["kernel"] for row in hot}) > 20
    for row in hot:
        spilled = row["spill stores"] + row["spill loads"]
        assert spilled <= 16, row


def test_the_resources_are_of_the_kernels_that_there_are():
    rows = json.loads(RESOURCES.read_text())["kernels"]
    kept = {row["kernel"].partition("<")[0] for row in rows}
    sources = "".join(path.read_text() for path in (ROOT / "csrc").rglob("*.cu"))
    declared = re.findall(
        r"__global__\s+void(?:\s+__launch_bounds__\((?:[^()]|\([^()]*\))*\))?\s+(\w+)\(", sources
    )
    assert len(declared) > 10
    assert kept == set(declared)
