"""The GPU groups, rehearsed: every case is built and judged on small inputs, whether there is a GPU or not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hud_fast import cli
from hud_fast.bench import GPU_GROUPS, Settings, cases_of, faults, measure, run_groups
from hud_fast.bench.gpu import clock, rehearsing

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"


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


def run_script(*arguments, **variables):
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, **variables},
        timeout=300,
        check=False,
    )


def test_the_script_rehearses_one_step(tmp_path):
    done = run_script("--dry-run", "--installed", "--only", "bench", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"== bench: passed, [\d.]+ s", done.stdout)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"bench.json", "environment.txt", "log.txt", "summary.json"}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["dry run"] is True
    assert [step["result"] for step in summary["steps"]] == ["passed"]
    assert json.loads((tmp_path / "out/bench.json").read_text())["complete"]


def test_a_step_that_fails_is_the_scripts_failure(tmp_path):
    """A level that no processor has: the package cannot be imported, so the benchmarks fail."""
    done = run_script(
        "--dry-run", "--installed", "--only", "bench", tmp_path / "out", HUD_FAST_ISA="none"
    )
    assert done.returncode == 1
    assert "== bench: failed" in done.stdout
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["steps"][0]["result"].startswith("failed")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "needs a folder for the results"),
        (("a", "b"), "one folder, got a and b"),
        (("--fast", "a"), "unknown option --fast"),
        (("--only", "magic", "a"), "--only takes tests, sanitizer, bench and profile, got magic"),
    ],
)
def test_the_scripts_errors(arguments, text):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert text in done.stderr


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
    sources = "".join(path.read_text() for path in (ROOT / "csrc/cuda").glob("*.cu"))
    declared = re.findall(
        r"__global__\s+void(?:\s+__launch_bounds__\((?:[^()]|\([^()]*\))*\))?\s+(\w+)\(", sources
    )
    assert len(declared) > 10
    assert kept == set(declared)
