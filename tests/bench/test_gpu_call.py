"""`benchmarks/gpu.sh`: its steps and limits, what a call that is killed leaves, the second call, and its tables."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import gpu_call
import gpu_steps
import gpu_table
import pytest
from gpu_call import Call
from gpu_steps import Plan, Step
from launch import own_pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"


def run_script(*arguments, **variables):
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**own_pytest(), "PYTHON": sys.executable, **variables},
        timeout=600,
        check=False,
    )


def python(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


def call(folder, seconds=60.0):
    return Call(folder, seconds, {"dry run": False})


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def results(folder):
    return {step["step"]: step["result"] for step in summary(folder)["steps"]}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "the following arguments are required: OUT"),
        (("a", "b"), "unrecognized arguments: b"),
        (("--fast", "a"), "unrecognized arguments: --fast"),
        (("--only", "magic", "a"), "takes package, smoke, .*, got magic"),
        (("--again", "nowhere", "a"), "--again needs the folder of a first call"),
    ],
)
def test_the_scripts_errors(arguments, text, capsys):
    with pytest.raises(SystemExit) as error:
        gpu_call.arguments(list(arguments))
    assert error.value.code == 2
    assert re.search(text, capsys.readouterr().err)


def test_the_script_rehearses_one_step(tmp_path):
    done = run_script("--dry-run", "--installed", "--only", "window", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "== window: passed" in done.stdout
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"bench.json", "environment.txt", "log.txt", "summary.json"}
    assert summary(tmp_path / "out")["dry run"] is True
    bench = json.loads((tmp_path / "out/bench.json").read_text())
    assert bench["complete"]
    assert [case["group"] for case in bench["cases"]] == ["gpu_window_search"]


def test_a_step_that_fails_is_the_scripts_failure(tmp_path):
    """A level that no processor has: the package cannot be imported."""
    done = run_script(
        "--dry-run", "--installed", "--only", "package", tmp_path / "out", HUD_FAST_ISA="none"
    )
    assert done.returncode == 1
    assert results(tmp_path / "out")["package"].startswith("failed")
    assert "HUD_FAST_ISA" in done.stdout, "the end of what it said is shown"


def test_results_and_limits_of_steps(tmp_path):
    found = call(tmp_path)
    child = tmp_path / "child"
    hangs = python(
        f"""
        import subprocess, sys, time
        print("begun", flush=True)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(child)!r}, "w").write(str(child.pid))
        time.sleep(60)
        """
    )
    found.run(Step("good", 20, python("print('word')")))
    found.run(Step("bad", 20, python("import sys; print('why'); sys.exit(3)")))
    found.run(Step("proof", 20, python("import sys; sys.exit(1)"), good=(0, 1)))
    begin = time.monotonic()
    found.run(Step("hangs", 2, hangs))
    assert time.monotonic() - begin < 10
    found.run(Step("absent", 20, ["nothing"], absent="no such tool"))
    assert results(tmp_path) == {
        "good": "passed",
        "bad": "failed (3)",
        "proof": "passed",
        "hangs": "out of time",
        "absent": "not here",
    }
    log = (tmp_path / "log.txt").read_text()
    for word in ("word", "why", "begun"):
        assert f"\n{word}\n" in log
    assert found.failed
    deadline = time.monotonic() + 5
    while _alive(int(child.read_text())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(int(child.read_text())), "what a step began ends with it"


def _alive(process):
    """Whether it runs; one that ended but that nobody has asked after does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_nothing_begins_when_the_call_has_no_time_left(tmp_path):
    found = call(tmp_path, seconds=1.0)
    assert found.run(Step("late", 20, python("print(1)"))) == "no time left"
    assert found.failed


def test_a_call_that_is_killed_leaves_what_was_done(tmp_path):
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT / "benchmarks")!r})
        from pathlib import Path
        from gpu_call import Call, Step
        found = Call(Path({str(tmp_path)!r}), 60, {{"dry run": False}})
        found.run(Step("first", 20, [sys.executable, "-c", "print('done')"]))
        found.run(Step("second", 50, [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(50)"]))
        """
    child = subprocess.Popen(python(code), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and "begun" not in _text(tmp_path / "log.txt"):
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert results(tmp_path) == {"first": "passed", "second": "running"}
    assert "done" in _text(tmp_path / "log.txt")


def _text(path):
    return path.read_text() if path.is_file() else ""


def test_benchmarks_are_merged_while_they_run(tmp_path):
    """What a group has written so far is in OUT before the step has ended."""
    folder = tmp_path / "bench-fcls"
    folder.mkdir()
    made = {
        "commit": None,
        "complete": False,
        "left out": [],
        "cases": [{"group": "gpu_fcls", "case": "C=103 D=9"}],
    }
    (folder / "results.json").write_text(json.dumps(made))
    seen = []

    def merge():
        gpu_steps.merge_bench([folder], tmp_path / "bench.json", "0123")
        seen.append(json.loads((tmp_path / "bench.json").read_text()))

    call(tmp_path).run(Step("fcls", 20, python("import time; time.sleep(2.5)"), meanwhile=merge))
    assert len(seen) >= 2
    assert seen[0]["commit"] == "0123"
    assert seen[0]["cases"] == made["cases"]


def plan(tmp_path, *words):
    options = gpu_call.arguments(["--installed", *words, str(tmp_path / "out")])
    (tmp_path / "out").mkdir(exist_ok=True)
    return Plan(options, tmp_path / "out", tmp_path, gpu=True), options


def test_the_first_call_fits_its_limit_and_begins_with_what_decides(tmp_path):
    made, _ = plan(tmp_path)
    steps = list(made.first())
    names = [step.name for step in steps]
    assert names[:6] == ["package", "smoke", "steps", "fcls", "cosine", "window"]
    assert names.index("tests") < names.index("racecheck") < names.index("memcheck")
    assert all(step.limit <= 180 for step in steps)
    race = next(step for step in steps if step.name == "racecheck").command
    assert race[race.index("--kernel-name") + 1] == "kns=hud"


def test_the_second_call_does_what_did_not_pass(tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    done = {
        "fcls": "failed (1)",
        "cosine": "out of time",
        "tests": "running",
        "memcheck": "no time left",
    }
    every = [step.name for step in plan(tmp_path)[0].first()]
    steps = [{"step": name, "result": done.get(name, "passed")} for name in every]
    (first / "summary.json").write_text(json.dumps({"steps": steps}))
    rows = [{"test": "tests/gpu/test_a.py::test_b", "outcome": "passed"}]
    (first / "tests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = {"provider": "ours", "kind": "ours", "of": 1.0}
    cases = [
        {"group": group, "headline": True, "results": [{**result, "median_s": seconds}]}
        for group, seconds in (
            ("gpu_fcls", 1e-9),
            ("gpu_cosine_max", 1e-4),
            ("gpu_window_search", 1e-3),
        )
    ]
    (first / "bench.json").write_text(json.dumps({"cases": cases}))
    made, options = plan(tmp_path, "--again", str(first))
    again = list(gpu_steps.wanted(made, options))
    names = [step.name for step in again]
    assert names[:5] == ["package", "fcls", "cosine", "tests", "memcheck"]
    assert names[5:9] == ["profile cosine", "profile window", "profile fcls", "evaluate"]
    tests = next(step for step in again if step.name == "tests")
    assert tests.environment["HUD_FAST_TEST_DONE"] == str(first / "tests.jsonl")


def packed(folder, tag="", digest=""):
    """A folder of wheels as gpu_carry.sh leaves it, and the package's own wheel in it."""
    folder.mkdir()
    tag = tag or f"cp{sys.version_info.major}{sys.version_info.minor}"
    (folder / f"hud_fast-0.1.0-{tag}-{tag}-linux_x86_64.whl").touch()
    (folder / "pooch-1.9.0-py3-none-any.whl").touch()
    (folder / "sources.sha256").write_text(digest or gpu_steps.sources_digest())
    return folder


@pytest.mark.parametrize(
    ("tag", "digest", "taken"), [("", "", True), ("cp39", "", False), ("", "other", False)]
)
def test_the_carried_wheel_must_be_of_this_python_and_of_these_sources(
    tmp_path, tag, digest, taken
):
    found = gpu_steps.own_wheel(packed(tmp_path / "wheels", tag, digest))
    assert (found is not None) is taken


def test_the_steps_install_the_wheel_or_build(tmp_path):
    options = argparse.Namespace(
        installed=False, carried=tmp_path, dry_run=False, again=None, only=[]
    )
    made = Plan(options, tmp_path, tmp_path, gpu=True)
    assert [step.name for step in made.install()] == ["environment", "build"]
    packed(tmp_path / "wheels")
    steps = {step.name: step for step in made.install()}
    assert list(steps) == ["environment", "wheels"]
    assert len([word for word in steps["wheels"].command if word.endswith(".whl")]) == 2


# plugins that import torch themselves, or slowly
BARE = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:zarr", "-p", "no:anyio")
CRASH = """
import importlib.util, sys, types
# what the conftest and the suite want of torch and of the package, at hand in no time
for name in ("torch", "hud_fast", "hud_fast.kernels", "hud_fast.kernels.windows"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["hud_fast.kernels.windows"].device = None
sys.modules["torch"].device = object
sys.modules["torch"].cuda = types.SimpleNamespace(is_initialized=lambda: False)
spec = importlib.util.spec_from_file_location("gpu_conftest", {conftest!r})
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
from_gpu = ("pytest_runtest_makereport", "pytest_runtest_logreport", "pytest_collection_modifyitems")
globals().update({{name: getattr(made, name) for name in from_gpu}})
"""
SUITE = """
import pytest, torch

@pytest.mark.parametrize("n", range(12))
def test_one(n, monkeypatch):
    if n == 3:  # as after an illegal address: the context is there and every call fails
        monkeypatch.undo()
        torch.cuda.is_initialized = lambda: True
        def synchronize():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        torch.cuda.synchronize = synchronize
        raise AssertionError("the first to fail")
    if torch.cuda.is_initialized():
        raise AssertionError("a lost worker was given another test")
"""


def suite(folder, *words, **variables):
    (folder / "conftest.py").write_text(CRASH.format(conftest=str(ROOT / "tests/gpu_session.py")))
    (folder / "test_some.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            *BARE,
            *words,
            str(folder),
        ],
        cwd=folder,
        env={
            **own_pytest(),
            "HUD_FAST_TEST_LOG": str(folder / "log.jsonl"),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def outcomes(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {
        row["test"].rpartition("::")[2]: row["outcome"] for row in rows if "outcome" in row
    }, rows


@pytest.mark.slow
def test_a_worker_that_lost_its_gpu_ends_and_the_others_go_on(tmp_path):
    pytest.importorskip("xdist")
    done = suite(tmp_path, "-n", "2", "--dist", "worksteal")
    found, rows = outcomes(tmp_path)
    assert found.pop("test_one[3]") == "failed"
    assert found == {f"test_one[{n}]": "passed" for n in range(12) if n != 3}, done.stdout
    lost = [row for row in rows if "lost" in row]
    assert len(lost) == 1
    assert "illegal memory access" in lost[0]["lost"]
    assert "the first to fail" in lost[0]["text"]
    again = suite(tmp_path, HUD_FAST_TEST_DONE=str(tmp_path / "log.jsonl"))
    assert "11 deselected" in again.stdout


def test_the_main_process_never_ends_itself(tmp_path):
    done = suite(tmp_path, "-p", "no:xdist")
    assert done.returncode == 1, done.stdout
    assert "failed" in done.stdout.splitlines()[-1]
    assert "the first to fail" in done.stdout


def bench_of(**rates):
    """Cases with ours at some share of the target's time."""
    cases = []
    for group, share in rates.items():
        ours = {
            "provider": "ours",
            "kind": "ours",
            "median_s": share / gpu_table.RATES[group],
            "of": 1e6,
            "wrong": False,
        }
        peer = {"provider": "torch", "kind": "peer", "median_s": 1.0, "of": 1.0, "wrong": False}
        cases.append(
            {"group": group, "case": "a", "headline": True, "facts": {}, "results": [ours, peer]}
        )
    return cases


def test_targets_are_read_beside_what_was_measured(tmp_path):
    step = {"iqr_s": 0.0, "wrong": False, "of": 64.0, "error": None, "note": ""}
    training = [{"provider": "graph, bfloat16", "kind": "ours", "median_s": 0.006 / 32, **step}]
    sampling = [
        {"provider": "graph, float32", "kind": "ours", "median_s": 1e-4, **step},
        {"provider": "diffusers, float32", "kind": "peer", "median_s": 5e-4, **step},
    ]
    cases = [
        *bench_of(gpu_fcls=0.5, gpu_cosine_max=2.0),
        {"group": "gpu_diffusion", "case": "training step, small, D=16", "headline": True, "facts": {"batch": 32},
         "results": training},
        {"group": "gpu_diffusion", "case": "sampling step, small, 64 of 32 x 32, D=16", "headline": True,
         "facts": {"batch": 64}, "results": sampling},
    ]  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps({"cases": cases}))
    steps = [
        {"step": "fcls", "result": "passed", "seconds": 3.0},
        {"step": "memcheck", "result": "not here", "seconds": 0},
    ]
    (tmp_path / "summary.json").write_text(
        json.dumps({"GPU": "NVIDIA H100 80GB", "dry run": False, "steps": steps})
    )
    lines = [
        {"test": "a", "outcome": "passed"},
        {"test": "b", "outcome": "failed"},
        {"test": "b", "outcome": "passed"},
    ]
    (tmp_path / "tests.jsonl").write_text("\n".join(map(json.dumps, lines)))
    operations = {
        "fcls": {"backend": "cuda", "proven": True, "why": ""},
        "graphs": {"backend": "graphs", "proven": False, "why": "hung"},
    }
    (tmp_path / "smoke.json").write_text(json.dumps({"operations": operations}))
    found = gpu_table.read([tmp_path])
    rows = {what: (said, met) for what, _, said, met in gpu_table.rows_of(found)}
    assert rows["FCLS, 200 bands, 16 endmembers"][1] is True
    assert rows["exact F_p of 1e6 pixels against Pavia's size"] == (
        "0.6 s; 1.67e+06 times torch",
        False,
    )
    assert rows["1000 blocks against Pavia's size"] == ("not measured", None)
    assert rows["small, trained whole"] == ("2 min by 6 ms a step (graph, bfloat16)", True)
    assert rows["sampling step, small, 64 of 32 x 32, D=16, float32"] == ("5 times", True)
    assert rows["operations proven"] == ("1 of 2; graphs: hung", False)
    assert rows["tests on the GPU"] == ("2 passed", True)
    assert rows["step memcheck"][1] is None
    path = gpu_table.keep(found, tmp_path)
    assert path.name == "gpu-nvidia-h100-80gb.json"
    kept = json.loads(path.read_text())
    assert kept["targets"][0]["what"] == "operations proven"
    assert len(kept["cases"]) == 4


def test_a_rehearsal_is_not_kept(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"dry run": True, "steps": []}))
    with pytest.raises(ValueError, match="a rehearsal is no record"):
        gpu_table.keep(gpu_table.read([tmp_path]), tmp_path)
