"""The check's processes and its verdict: a child that hangs or dies, the file it is kept in, who is asked when."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time

import pytest
import torch

import hud_fast as hud
from hud_fast import cli
from hud_fast.kernels import _backend, gpu_check
from hud_fast.kernels.gpu_check import GPUCheck, Operation, asking, verdict

KEY = ("NVIDIA Test", "580.1", "2.11.0", "3.6.0", "0123456789abcdef")
FOUND = {
    "fcls": Operation("cuda", True, "", 1.25),
    "cosine_max": Operation("cuda", False, "float32: 1 of 9 values are off", 2.0),
    "graphs": Operation("graphs", True, "", 0.5),
}


def answers(operations, suite="suites:odd", **options):
    return {a.operation: a for a in asking.ask("cpu", operations, suite=suite, **options)}


def test_one_that_hangs_or_dies_costs_that_operation_alone():
    begin = time.monotonic()
    found = answers(["well", "dies", "fine", "hangs", "exits", "wrong", "raises", "last"], limit=5)
    whys = {name: answer.why for name, answer in found.items()}
    assert whys == {
        "well": "",
        "dies": "the process ended (SIGABRT): illegal address",
        "fine": "",
        "hangs": "no answer within 5 s",
        "exits": "the process ended (exit code 3): a library's word on standard output exits",
        "wrong": "off by one",
        "raises": "RuntimeError: CUDA error: unspecified launch failure",
        "last": "",
    }
    assert all(answer.lasting for answer in found.values())
    assert 5 <= found["hangs"].seconds < 10
    assert time.monotonic() - begin < 120


def test_a_device_that_answers_no_more_gets_a_new_process():
    found = answers(["first", "poisons", "after"], "suites:broken_device")
    assert [a.why for a in found.values()] == [
        "",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "",
    ]


def test_want_of_memory_and_a_start_that_fails_are_not_for_ever(monkeypatch):
    assert not answers(["starved"])["starved"].lasting
    found = answers(["a", "b"], "suites:nobody")
    assert [(a.lasting, a.why.split(":")[0]) for a in found.values()] == [
        (False, "the check did not start")
    ] * 2
    assert "has no attribute 'nobody'" in found["a"].why
    slow = answers(["a"], start=0.01)
    assert slow["a"].why == "the check did not start: no answer within 0.01 s"


def test_the_child_chooses_no_kernels_by_itself(monkeypatch):
    monkeypatch.setenv(_backend.GPU_KERNELS, "1")
    monkeypatch.setenv("HUD_FAST_BACKEND", "triton")
    found = answers([_backend.GPU_KERNELS, "HUD_FAST_BACKEND"], "suites:environment")
    assert [a.why for a in found.values()] == ["0", "unset"]


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A machine with a GPU, as far as the verdict is concerned; its cache is empty."""
    monkeypatch.delenv(_backend.GPU_KERNELS, raising=False)
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path))
    monkeypatch.setattr(verdict, "_held", {})
    monkeypatch.setattr(_backend, "_proven", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=0: KEY[0])
    monkeypatch.setattr(verdict, "key_of", lambda _: KEY)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """How often a check was made; it finds `FOUND`."""
    calls = []

    def tell(device, operations, **_):
        calls.append(device)
        for name in operations:
            found = FOUND.get(name, Operation("", False, "not today", 0.0))
            yield asking.Answer(name, found.why, found.seconds)

    monkeypatch.setattr(gpu_check, "ask", tell)
    return calls


def another_process():
    """Forget what this process holds."""
    verdict._held.clear()
    _backend.forget_verdicts()


def test_a_verdict_is_made_once_kept_and_decides(card, asked):
    assert _backend.on_cuda("fcls") == "torch"  # nothing on file
    steps = []
    made = hud.check_gpu(progress=lambda done, total: steps.append((done, total)))
    assert steps == [(n, len(gpu_check.OPERATIONS)) for n in range(len(gpu_check.OPERATIONS) + 1)]
    assert tuple(made.operations) == gpu_check.OPERATIONS
    assert (made.proven, made.key) == ({"fcls", "graphs"}, KEY)
    assert asked == ["cuda:0"]
    another_process()
    assert (_backend.on_cuda("fcls"), _backend.on_cuda("cosine_max")) == ("cuda", "torch")
    assert _backend.proven("graphs")
    assert hud.check_gpu("cuda:0") == made
    assert len(asked) == 1
    hud.check_gpu(again=True)
    assert len(asked) == 2


@pytest.mark.parametrize("place", range(5))
def test_another_card_driver_version_or_build_is_asked_anew(card, asked, monkeypatch, place):
    hud.check_gpu()
    other = tuple(f"{part} x" if k == place else part for k, part in enumerate(KEY))
    monkeypatch.setattr(verdict, "key_of", lambda _: other)
    _backend.forget_verdicts()
    assert _backend.on_cuda("fcls") == "torch"
    assert hud.check_gpu().key == other
    assert len(asked) == 2
    monkeypatch.setattr(verdict, "key_of", lambda _: KEY)
    assert hud.check_gpu().key == KEY
    assert len(asked) == 2


DAMAGE = {
    "nothing": "",
    "half": '{"card": "NVIDIA Test", "dri',
    "a list": "[1, 2]",
    "no operations": json.dumps(
        dict(zip(("card", "driver", "torch", "triton", "build"), KEY, strict=True))
    ),
    "another card's": json.dumps(GPUCheck("Other", *KEY[1:], operations=FOUND).to_dict()),
    "words for yes": json.dumps(GPUCheck(*KEY, operations=FOUND).to_dict()).replace(
        "true", '"yes"'
    ),
    "too many words": json.dumps(GPUCheck(*KEY, operations=FOUND).to_dict()).replace(
        "seconds", "s"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_again(card, asked, damage):
    path = verdict.path_of(KEY)
    path.parent.mkdir(parents=True)
    path.write_text(DAMAGE[damage])
    assert _backend.on_cuda("fcls") == "torch"
    hud.check_gpu()
    assert asked == ["cuda:0"]
    another_process()
    assert _backend.on_cuda("fcls") == "cuda"


def test_bytes_that_are_no_text_are_no_verdict(card):
    path = verdict.path_of(KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)))
    assert verdict.on_file(KEY) is None


def test_without_a_cache_the_verdict_lives_in_the_process(card, asked, monkeypatch):
    (card / "file").write_text("")
    monkeypatch.setenv("HUD_FAST_CACHE", str(card / "file" / "below"))
    hud.check_gpu()
    assert _backend.on_cuda("fcls") == "cuda"
    gpu_check.ensure("cuda")
    assert len(asked) == 1
    another_process()
    assert _backend.on_cuda("fcls") == "torch"


def test_what_may_pass_is_not_kept_on_file(card, monkeypatch):
    monkeypatch.setattr(
        gpu_check,
        "ask",
        lambda _, operations: (asking.Answer(o, "no memory", 1.0, False) for o in operations),
    )
    hud.check_gpu()
    assert verdict.on_file(KEY) is not None
    another_process()
    assert verdict.on_file(KEY) is None


def test_ensure_asks_once_says_one_line_and_never_raises(card, asked, monkeypatch):
    said, steps = [], []
    assert gpu_check.needed("cuda")
    gpu_check.ensure("cuda", lambda *done: steps.append(done), said.append)
    assert said == [
        "GPU kernels: 2 of 13 proven on this NVIDIA Test; torch does normal_noise, q_sample, sampler_step, "
        "sampler_step_at, log_project, log_standardize, simplex_softmax, standardized_softmax, softmax_decode, "
        "cosine_max, window_search"
    ]
    assert steps[-1] == (13, 13)
    assert not gpu_check.needed(None)
    gpu_check.ensure(None, say=said.append)
    assert (len(said), len(asked)) == (1, 1)

    def fails(*_, **__):
        raise OSError("no process can be started")

    another_process()
    verdict.path_of(KEY).unlink()
    monkeypatch.setattr(gpu_check, "ask", fails)
    gpu_check.ensure(torch.device("cuda", 0), say=said.append)
    assert said[1:] == [
        "GPU kernels: the check could not be made (no process can be started); torch does all"
    ]
    assert _backend.on_cuda("fcls") == "torch"


def test_ensure_has_nothing_to_do(card, asked, monkeypatch):
    gpu_check.ensure("cpu")
    for word in ("0", "1"):
        monkeypatch.setenv(_backend.GPU_KERNELS, word)
        gpu_check.ensure("cuda")
    monkeypatch.delenv(_backend.GPU_KERNELS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu_check.ensure("cuda")
    gpu_check.ensure(None)
    assert asked == []


def test_a_verdict_cannot_stop_what_torch_can_do(card, monkeypatch):
    def fails(number):
        raise RuntimeError("the driver has gone")

    monkeypatch.setattr(verdict, "key_of", fails)
    assert verdict.proven_operations(0) == frozenset()
    gpu_check.ensure("cuda")


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_processes_that_start_at_once_make_one_check(card, monkeypatch):
    """The second waits for the first and takes its verdict. Locks are of open files: threads stand for processes."""
    asked = []

    def slow(device, operations):
        asked.append(device)
        time.sleep(0.5)
        verdict._held.clear()  # each process holds its own
        return (asking.Answer(name, "", 0.0) for name in operations)

    monkeypatch.setattr(gpu_check, "ask", slow)
    threads = [threading.Thread(target=gpu_check.ensure, args=("cuda",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert asked == ["cuda:0"]


def test_without_a_gpu_and_for_a_cpu_the_check_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RuntimeError, match="check_gpu: torch sees no GPU here"):
        hud.check_gpu()
    assert cli.main(["info", "--check-gpu"]) == 1
    assert capsys.readouterr().err.endswith("Error: check_gpu: torch sees no GPU here\n")


def test_a_cpu_is_refused(card):
    with pytest.raises(ValueError, match="`device` must be a GPU, as 'cuda' or 'cuda:1', got cpu"):
        hud.check_gpu("cpu")


def test_info_makes_and_shows_the_verdict(card, asked, capsys, tmp_path):
    assert cli.main(["info"]) == 0
    assert "no verdict on file: hud-fast info --check-gpu makes one" in capsys.readouterr().out
    file = tmp_path / "verdict.json"
    assert cli.main(["info", "--check-gpu", "--json", str(file)]) == 1  # not all are proven
    captured = capsys.readouterr()
    assert "Checking the GPU's kernels" in captured.err
    assert captured.out.startswith("NVIDIA Test, driver 580.1")
    assert GPUCheck.from_dict(json.loads(file.read_text())) == verdict.on_file(KEY)
    assert cli.main(["info", "--check-gpu"]) == 1  # made anew
    assert asked == ["cuda:0"] * 2
    assert cli.main(["info", "--json", str(file)]) == 2
    assert "--json goes with --check-gpu" in capsys.readouterr().err
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("GPU kernels (proven ones run by themselves, torch does the rest)")
    assert lines[at + 1].startswith("NVIDIA Test, driver 580.1")
    assert (
        "  cosine_max            cuda    not proven      2.0 s  float32: 1 of 9 values are off"
        in lines
    )


def test_a_key_names_this_build(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    monkeypatch.setattr(verdict, "_driver", lambda: "580.1")
    card, driver, version, triton, build = verdict.key_of(1)
    assert (card, driver, version) == ("card 1", "580.1", torch.__version__)
    assert triton
    assert len(build) == 16
    assert verdict.path_of(KEY) != verdict.path_of(("x", *KEY[1:]))


def test_a_verdict_is_frozen_and_goes_through_json():
    check = GPUCheck(*KEY, operations=FOUND)
    assert GPUCheck.from_dict(json.loads(json.dumps(check.to_dict()))) == check
    with pytest.raises(dataclasses.FrozenInstanceError):
        check.card = "other"
