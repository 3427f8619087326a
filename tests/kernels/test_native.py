"""The compiled module itself: levels, isolation of their code, hostile calls, threads, forks, its process."""

from __future__ import annotations

import importlib.util
import inspect
import os
import runpy
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from isa import every_level, running
from torch._subclasses import FakeTensorMode

import hud_fast as hud
from hud_fast import kernels
from hud_fast.kernels import _backend, build_config, can_run, get_isa, isa_levels
from hud_fast.kernels._native import C
from hud_fast.kernels.gpu_check import OPERATIONS


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in another interpreter; -P keeps the source tree, which has no _C, off its path."""
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_levels_match_the_processor():
    assert isa_levels()[0] == "baseline"
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or "flags" not in cpuinfo.read_text():
        pytest.skip("no /proc/cpuinfo with x86 flags to compare with")
    flags = set(cpuinfo.read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    assert ("avx2" in isa_levels()) == ({"avx2", "fma", "bmi2"} <= flags)
    assert ("avx512" in isa_levels()) == ({"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags)


@every_level
def test_the_environment_chooses_the_level(level):
    done = run_python("import hud_fast; print(hud_fast.build_config()['isa'])", HUD_FAST_ISA=level)
    assert done.stdout.strip() == level, done.stderr


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match=r"set_isa: `name` must be one of baseline.*got 'sse9'"):
        hud.set_isa("sse9")
    done = run_python("import hud_fast.kernels", HUD_FAST_ISA="sse9")
    assert "HUD_FAST_ISA must be one of baseline" in done.stderr


def test_the_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("HUD_FAST_BACKEND", "torch")
    hud.simplex_softmax(np.zeros((2, 2)))
    assert hud.last_backend() == "torch"
    hud.simplex_softmax(np.zeros((2, 2)), backend="cpu")
    assert hud.last_backend() == "cpu"


def test_can_run_says_why_not():
    assert can_run("torch", device="cuda", dtype=torch.float16)
    assert not can_run("cuda", device="cuda")
    with pytest.raises(RuntimeError, match="need tensors on the CPU, got device 'cuda'"):
        can_run("cpu", device="cuda", raise_error=True)
    with pytest.raises(
        ValueError, match="`backend` must be one of torch, cpu, cuda, triton, got 'tpu'"
    ):
        can_run("tpu")


def test_triton_says_what_it_needs(monkeypatch):
    """As where it is installed, also where it is not: nothing of it is needed to refuse."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(_backend, "_HAS_TRITON", True)
    with pytest.raises(RuntimeError, match=r"got device 'cpu' \(with TRITON_INTERPRET=1 in the"):
        hud.log_project(np.ones((1, 2)), backend="triton")
    with pytest.raises(RuntimeError, match="fcls has no Triton kernel"):
        can_run("triton", device="cuda", op="fcls", raise_error=True)
    with pytest.raises(RuntimeError, match=r"float32 and float64, got torch\.int32"):
        can_run("triton", device="cuda", dtype=torch.int32, raise_error=True)


@pytest.mark.parametrize("interpret", ["0", "1"])
def test_without_triton_everything_else_runs(interpret):
    """In a process that finds no Triton, whether it is installed here or not."""
    code = """
        import sys
        sys.modules["triton"] = None  # as if it were not installed
        import numpy as np, hud_fast as hud
        assert np.isfinite(hud.log_project(np.ones((1, 2)))).all() and hud.last_backend() == "cpu"
        try:
            hud.log_project(np.ones((1, 2)), backend="triton")
        except RuntimeError as error:
            print(error)
    """
    done = run_python(code, TRITON_INTERPRET=interpret)
    assert done.stdout.startswith(
        "log_project: backend 'triton' cannot run: Triton is not installed: `pip install triton`, or"
    ), done.stdout + done.stderr


def test_triton_is_imported_where_it_runs_only():
    done = run_python("import sys, hud_fast.kernels; print('triton' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_every_operation_has_kernels_that_a_cuda_tensor_may_get():
    functions = {
        name
        for name in kernels.__all__
        if "backend" in inspect.signature(getattr(kernels, name)).parameters
    }
    operations = set(_backend.REGISTERED)
    assert functions - {"CosineIndex", "can_run", "last_backend"} == operations
    on_a_gpu = {op.name for op in _backend.REGISTERED.values() if op.on_gpu != "torch"}
    assert on_a_gpu | {"graphs"} == set(OPERATIONS)


@pytest.mark.parametrize("op", _backend.REGISTERED.values(), ids=lambda op: op.name)
def test_a_registered_operation_is_whole(op):
    assert {"torch", "cpu", op.on_gpu} <= set(op.implementations)
    assert list(op.implementations) == [b for b in _backend.BACKENDS if b in op.implementations]
    if op.name != "normal_noise":  # takes no tensor, so torch knows nothing of it
        for key in ("CPU", "CUDA", "Meta"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(f"hud_fast::{op.name}", key)


@pytest.fixture
def verdicts(monkeypatch):
    """What this process knows of GPUs' verdicts: nothing yet, and nobody's word against them."""
    monkeypatch.delenv(_backend.GPU_KERNELS, raising=False)
    known: dict[int, frozenset[str]] = {}
    monkeypatch.setattr(_backend, "_proven", known)
    return known


def test_a_cuda_tensor_gets_what_its_card_has_proved(verdicts, monkeypatch):
    with FakeTensorMode():
        like = torch.empty(2, 3, device="cuda")
        wide = torch.empty(2, 3, device="cuda", dtype=torch.float64)
    if not torch.cuda.is_available():
        assert {_backend.resolve(op, None, like) for op in _backend.REGISTERED} == {"torch"}
        assert hud.log_project(like).device.type == "cuda"
        assert verdicts == {0: frozenset()}  # read once
    monkeypatch.setattr(_backend, "can_run", lambda *_, **__: True)
    verdicts[0] = frozenset({"fcls", "log_project"})
    found = {op: _backend.resolve(op, None, wide) for op in ("fcls", "log_project", "q_sample")}
    assert found == {"fcls": "cuda", "log_project": "triton", "q_sample": "torch"}
    other = torch.device("cuda", 1)  # another card, another verdict
    verdicts[1] = frozenset({"q_sample", "graphs"})
    assert (_backend.on_cuda("q_sample", other), _backend.on_cuda("fcls", other)) == (
        "triton",
        "torch",
    )
    assert _backend.proven("graphs", other)
    assert not _backend.proven("graphs")


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
def test_what_is_chosen_is_traced(verdicts, monkeypatch, read):
    """torch.compile goes through the choice without a break, whether the verdict has been read before or not."""
    asked = []
    module = importlib.import_module("hud_fast.kernels.gpu_check.verdict")
    monkeypatch.setattr(
        module, "proven_operations", lambda number: asked.append(number) or frozenset({"fcls"})
    )
    if read:
        verdicts[0] = frozenset({"fcls"})

    def chosen(x):
        device = torch.device("cuda", 0)
        right = _backend.on_cuda("fcls", device) == "cuda"
        return x + 1 if right and _backend.on_cuda("q_sample", device) == "torch" else x

    compiled = torch.compile(chosen, fullgraph=True, backend="eager")
    assert compiled(torch.zeros(1)) == 1
    assert asked == ([] if read else [0])


def test_whether_a_gpu_can_run_is_traced():
    for backend in ("cuda", "triton"):
        able = can_run(backend, device="cuda")

        def asks(x, backend=backend):
            return x + 1 if can_run(backend, device="cuda") else x

        compiled = torch.compile(asks, fullgraph=True, backend="eager")
        assert compiled(torch.zeros(1)) == int(able)


def test_an_operation_without_a_backend_says_so():
    with pytest.raises(
        RuntimeError, match="backend 'cuda' cannot run: this operation has torch and cpu and triton"
    ):
        hud.log_standardize(np.ones((1, 2)), [0, 0], [1, 1], backend="cuda")


def test_the_environment_overrules_the_verdict(verdicts, monkeypatch):
    verdicts[0] = frozenset({"fcls"})
    monkeypatch.setenv(_backend.GPU_KERNELS, "0")
    assert {_backend.on_cuda(op) for op in _backend.REGISTERED} == {"torch"}
    monkeypatch.setenv(_backend.GPU_KERNELS, "1")
    assert _backend.on_cuda("fcls") == _backend.on_cuda("window_search") == "cuda"
    assert _backend.on_cuda("cosine_max") == "cuda"
    assert _backend.on_cuda("log_project") == _backend.on_cuda("sampler_step_at") == "triton"
    y = np.array([[0.25, 0.75]])
    np.testing.assert_allclose(hud.fcls(y, np.eye(2)), y)  # what lies on the CPU stays there
    monkeypatch.setenv(_backend.GPU_KERNELS, "yes")
    with pytest.raises(ValueError, match="fcls: HUD_FAST_GPU_KERNELS must be 0 or 1, got 'yes'"):
        _backend.on_cuda("fcls")


def test_no_symbol_of_a_level_can_replace_another_level_s():
    """A weak symbol compiled for AVX-512 could be linked into the baseline path and stop an older processor."""
    objects = list(Path(__file__).parents[2].glob("build/**/hud_*.dir/**/levels.cpp.o"))
    if not objects or shutil.which("nm") is None:
        pytest.skip("no build folder with object files here, or no nm")
    for path in objects:
        symbols = subprocess.run(
            ["nm", "-C", path], capture_output=True, text=True, check=True
        ).stdout
        kinds = [line.split()[1] for line in symbols.splitlines() if len(line.split()) >= 3]
        assert "W" not in kinds, path
        assert "V" not in kinds, path
        assert kinds.count("T") == 1, path


def test_loading_leaves_denormals_alone():
    """-ffast-math at link time would flush them in the whole process."""
    done = run_python(
        "import hud_fast.kernels, numpy as np; print(np.float64(5e-324) * np.float64(1.0) > 0)"
    )
    assert done.stdout.strip() == "True", done.stderr


def test_import_is_light():
    code = """
        import sys, hud_fast, hud_fast.kernels
        names = {'diffusers', 'matplotlib', 'scipy', 'h5py', 'spectral', 'pooch', 'tensorly', 'triton'}
        heavy = names & set(sys.modules)
        print(sorted(heavy))
    """
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_raw_module_refuses_what_would_read_outside():
    a, b = torch.zeros(4, 3), torch.zeros(4, 2)
    with pytest.raises(ValueError, match="one dtype and size"):
        C.log_project(a, b, 0.1, 1)
    with pytest.raises(ValueError, match="expected a contiguous tensor"):
        C.log_project(torch.zeros(8, 3)[::2], a, 0.1, 1)
    with pytest.raises(ValueError, match="expected a float16, bfloat16, float32 or float64 tensor"):
        C.log_project(a.int(), a, 0.1, 1)
    with pytest.raises(TypeError):
        C.log_project(torch.zeros(4, 3, device="meta"), a, 0.1, 1)
    with pytest.raises(TypeError):
        C.log_project(np.zeros((4, 3), dtype=np.float32), a, 0.1, 1)


def test_fake_tensors_go_through_the_op_and_never_reach_memory():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = hud.simplex_softmax(torch.empty(3, 4))
        abundances = hud.fcls(torch.empty(3, 4), torch.empty(2, 4))
    assert type(x).__name__ == type(abundances).__name__ == "FakeTensor"
    assert (x.shape, abundances.shape) == ((3, 4), (3, 2))


@every_level
def test_threads_at_once_do_not_disturb_each_other(level):
    rng = np.random.default_rng(0)
    A, y = rng.random((6, 30)), rng.random((2000, 30))
    with running(level):
        expected = hud.fcls(y, A)
        found: list[np.ndarray] = []
        workers = [threading.Thread(target=lambda: found.append(hud.fcls(y, A))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert len(found) == 4
    for x in found:
        np.testing.assert_array_equal(x, expected)


def test_a_forked_child_does_not_wait_for_threads_that_it_has_not():
    """Its kernels and torch's own operations in them; with two threads before the fork."""
    done = run_python(
        """
        import os, signal, numpy as np, torch, hud_fast as hud
        torch.set_num_threads(2)
        rng = np.random.default_rng(0)
        ends = rng.random((5, 40), dtype="f4")
        spectra = rng.dirichlet(np.ones(5), 60_000).astype("f4") @ ends
        def work():
            return hud.fcls(spectra, ends), *hud.cosine_max(spectra[:20_000], spectra[:20_000])
        before = work()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            same = all(map(np.array_equal, work(), before))
            os._exit(0 if same and torch.get_num_threads() == 1 else 1)
        print(os.waitpid(child, 0)[1], torch.get_num_threads())
        """
    )
    assert done.stdout.split() == ["0", "2"], done.stderr


class _Broken:
    """Finds the compiled module and fails to load it."""

    def find_spec(self, name, path=None, target=None):
        del path, target
        return importlib.util.spec_from_loader(name, self) if name == "hud_fast._C" else None

    def create_module(self, spec):
        del spec
        raise ImportError("libnone.so.1: cannot open shared object file")

    def exec_module(self, module):
        raise AssertionError(module)


@pytest.mark.parametrize(
    ("finder", "said"),
    [
        (_Broken(), r"built but cannot be loaded \(libnone.so.1: cannot open shared object file\)"),
        (None, "not built: you are importing the source tree"),
    ],
)
def test_a_module_that_cannot_be_loaded_says_why(finder, said, monkeypatch):
    monkeypatch.delattr(hud, "_C")
    if finder is None:
        monkeypatch.setitem(sys.modules, "hud_fast._C", None)
    else:
        monkeypatch.delitem(sys.modules, "hud_fast._C")
        monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.raises(ImportError, match=said):
        runpy.run_path(kernels._native.__file__)


def test_build_config_names_the_build():
    config = build_config()
    assert config["isa"] == get_isa()
    assert config["compiler"]
