"""A command met by a fault before a chosen one of its file operations: killed, a full disk, a signal, its folder gone.

The command runs in a fork of this process: what kills it is a real ``kill -9``, and nothing has to be imported anew.

    python tests/faults.py [TEXT]    # every operation of the commands with TEXT in their name; some minutes
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hud_fast import cli
from hud_fast.scenes import save_scene, simulate_scene

SETTINGS = "widths=8,8 attention=no,no groups=4 crop=8 batch=2 checkpoint_every=1 keep=1 patches=no prediction=epsilon"
MICRO = ["--endmembers", "3", "--steps", "2", "--device", "cpu", "--threads", "1"]
MICRO += [word for setting in SETTINGS.split() for word in ("--set", setting)]
FEW = ["--samples", "2", "--size", "8", "--sampler-steps", "2"]
CHANGING = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open")
CREATING = ("mkdir", "fsync", "open")
UNMET = 98  # exit code where the command came to its end first
FAULTS = ("kill", "full", "stop", "gone")


@dataclass(frozen=True)
class Job:
    """A command, where it writes, and which of its files must be as if nothing had happened."""

    words: tuple[str, ...]
    out: str
    same: tuple[str, ...] = ("*.npy", "*.safetensors", "*.npz", "*.csv")


def jobs(scene: str, run: str) -> dict[str, Job]:
    """By name; `run` is a finished one."""
    sample = ("sample", run, "--count", "2", "--size", "8", "--sampler-steps", "2", "--format")
    again = "--overwrite"
    return {
        "run": Job(("run", scene, "--out", "o", *MICRO, *FEW), "o"),
        "run --overwrite": Job(("run", scene, "--out", "o", *MICRO, *FEW, again), "o"),
        "fit --overwrite": Job(("fit", scene, "--out", "o", *MICRO, again), "o"),
        "sample --overwrite": Job((*sample, "npz", "--out", "o", again), "o"),
        "sample .npy": Job((*sample, "auto", "--out", "o.npy", again), "o.npy"),
        "unmix --overwrite": Job(
            ("unmix", scene, "--endmembers", "3", "--format", "npz", "--out", "o", again), "o"
        ),
    }


def one_small_figure() -> None:
    """Most of such a small run's time would go into its figures."""
    from hud_fast import report
    from hud_fast.pipeline import run

    def drawn(*_: Any) -> Any:
        return report.training_curve([{"step": 1, "loss": 1.0}])

    run.run_figures = lambda *_: {"panels": drawn()}
    report.abundance_maps = report.endmembers = report.residual_map = drawn


def prepare(folder: Path) -> tuple[str, str]:
    """A scene and a finished run of it."""
    save_scene(simulate_scene(24, 30, C=20, D=3, seed=0), folder / "field.npz")
    scene, run = str(folder / "field.npz"), str(folder / "run")
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        # in this process: the forks then have all that is imported
        assert cli.main(["run", scene, "--out", run, *MICRO, *FEW]) == 0, nowhere.getvalue()
    return scene, run


def forked(work: Callable[[], int], folder: Path) -> tuple[int, str]:
    """Exit code of `work` in a fork that works in `folder`, negative for a signal, and what it wrote to stderr."""
    said = folder / ".stderr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), said.read_text()
    code = 99
    try:
        os.chdir(folder)
        for number, name in ((1, os.devnull), (2, str(said))):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        one_small_figure()
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def meet(fault: str, at: int, target: Path) -> list[str]:
    """Let `fault` come before the changing file operation number `at`; the list grows with their names."""
    seen: list[str] = []

    def patch(name: str) -> None:
        real = getattr(os, name)

        def operation(*given: Any, **named: Any) -> Any:
            opening = name == "open"
            if opening and not given[1] & os.O_CREAT:
                return real(*given, **named)
            seen.append(name)
            if len(seen) == at + 1:
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif fault == "stop":
                    os.kill(os.getpid(), signal.SIGTERM)
                elif fault == "gone":
                    seen.extend([""] * 10**6)  # the removal is none of the command's own
                    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            if fault == "full" and len(seen) > at and name in CREATING:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*given, **named)

        setattr(os, name, operation)

    for name in CHANGING:
        patch(name)
    return seen


def content(folder: Path, job: Job) -> dict[str, bytes]:
    """What must be the same, by name."""
    out = folder / job.out
    files = out.rglob("*") if out.is_dir() else [out]
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in files
        if p.is_file() and any(p.match(pattern) for pattern in job.same)
    }


class Trial:
    """One command: what it makes undisturbed, and what there was before it."""

    def __init__(self, job: Job, home: Path) -> None:
        self.job, self.home = job, home
        self.want = self.made(())
        self.old: Path | None = None
        if "--overwrite" in job.words:
            kept = Path(tempfile.mkdtemp(dir=home))
            self.made(("--seed", "1"), kept)
            self.old = kept / job.out

    def made(self, more: tuple[str, ...], kept: Path | None = None) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory(dir=self.home) as name:
            folder = kept or Path(name)
            code, text = forked(lambda: cli.main([*self.job.words, *more]), folder)
            assert code == 0, text
            return content(folder, self.job)

    def survived(self, fault: str, at: int) -> bool:
        """Meet the fault, look at what is left, give the command again; False once there is no operation `at`."""
        with tempfile.TemporaryDirectory(dir=self.home) as name:
            return self._survived(fault, at, Path(name))

    def _survived(self, fault: str, at: int, folder: Path) -> bool:
        job, out = self.job, folder / self.job.out
        if self.old is not None:
            (shutil.copytree if self.old.is_dir() else shutil.copy)(self.old, out)

        def work() -> int:
            seen = meet(fault, at, out)
            code = cli.main(list(job.words))
            return code if len(seen) > at else UNMET

        code, text = forked(work, folder)
        where = f"{fault} before operation {at}: exit code {code}, {text[-400:]!r}"
        if code == UNMET:
            return False
        assert code in {"kill": (-9,), "stop": (143, 0)}.get(fault, (0, 1, 2)), where
        if code in (1, 2):
            errors = [line for line in text.splitlines() if line.startswith("Error: ")]
            assert len(errors) == 1, where
            assert "fault of hud-fast" not in text, where
        assert "Traceback" not in text, where
        left = content(folder, job)
        if fault == "gone":  # a part never calls itself done
            assert code or left in ({}, self.want), where
            return True
        if fault == "full":
            assert not list(folder.rglob(".*-hud-fast-*")), where
        code, text = forked(lambda: cli.main(list(job.words)), folder)
        assert code == 0 or (code == 2 and "finished run" in text), (
            f"{where}; again: {code}, {text[-400:]!r}"
        )
        assert content(folder, job) == self.want, where
        hidden = [path.name for path in folder.rglob(".*") if path.name != ".stderr"]
        assert not hidden, f"{where}: left {hidden}"
        return True


def main(wanted: str = "") -> None:
    """Every operation of every command; prints the counts."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for job_name, job in jobs(*prepare(home)).items():
            if wanted not in job_name:
                continue
            trial = Trial(job, home)
            for fault in FAULTS:
                at = 0
                while trial.survived(fault, at):
                    at += 1
                print(f"{job_name}: {fault}: {at} of {at} operations survived", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
