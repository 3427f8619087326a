"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from hud_fast import cli
from hud_fast.cli.options import General, Model, Preset, Reading, Sampling
from hud_fast.scenes import load_scene, save_scene, simulate_scene

SMALL = ["--endmembers", "3", "--steps", "2", "--device", "cpu", "--threads", "1"]
FEW = ["--samples", "2", "--size", "16", "--sampler-steps", "2"]
COMMANDS = (
    *("run", "fit", "sample", "unmix", "endmembers", "metrics", "evaluate", "compare"),
    *("augment", "bench", "fetch", "info"),
)


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scene") / "field.mat"
    save_scene(simulate_scene(70, 40, C=20, D=3, seed=0), path)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, scene_file: str) -> Path:
    out = tmp_path_factory.mktemp("runs") / "field"
    assert cli.main(["run", scene_file, "--out", str(out), *SMALL, *FEW]) == 0
    return out


def plain(text: str) -> str:
    """`text` without terminal colours and frames."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """Run a command that must fail; return its one line of error."""
    capsys.readouterr()
    assert cli.main(list(arguments)) == code
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, shown.err
    assert "Traceback" not in shown.err
    return lines[0]


def test_run_says_what_it_made(
    tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["run", scene_file, "--out", str(out), *SMALL, *FEW]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[-1] == f"Report: {out / 'report.html'}"
    assert lines[0].startswith("Point fidelity:")
    assert "real data, halves" in lines[0]
    assert "field: 70 x 40 pixels, 20 bands" in shown.err
    assert "Training the diffusion model (2 steps): done in" in shown.err
    assert "\x1b" not in shown.out + shown.err  # not a terminal: no bars, no colours
    assert (out / "generated" / "cube-001.mat").is_file()
    assert "holds a finished run" in refused(
        capsys, "run", scene_file, "--out", str(out), *SMALL, *FEW
    )


def test_overwrite_replaces(finished: Path, tmp_path: Path, scene_file: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "notes.txt").write_text("mine")
    old = (out / "run.json").read_text()
    again = ["run", scene_file, "--out", str(out), *SMALL, *FEW, "--overwrite", "--seed", "1"]
    assert cli.main(again) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "run.json").read_text() != old
    assert {p.name for p in out.iterdir()} == {p.name for p in finished.iterdir()} | {"notes.txt"}


def test_overwrite_takes_nothing_of_the_users(
    tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "project"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "precious.txt").write_text("mine")
    run = ["run", scene_file, "--out", str(out), *SMALL, *FEW]
    assert "holds no run of hud-fast, but figures" in refused(capsys, *run)
    assert "or move figures away" in refused(capsys, *run, "--overwrite")
    assert [str(p.relative_to(out)) for p in out.rglob("*")] == ["figures", "figures/precious.txt"]


def test_a_refused_run_does_not_cost_the_one_it_was_to_replace(
    finished: Path, tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    run = ["run", scene_file, "--out", str(out), *SMALL, *FEW, "--overwrite"]
    assert "must be at most 20" in refused(capsys, *run, "--endmembers", "99")
    assert "crop" in refused(capsys, *run, "--set", "crop=64")  # as the training refuses it
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("scenes", [1, 2])
def test_fit_leaves_other_files_beside_its_checkpoints(
    tmp_path: Path, scene_file: str, scenes: int
) -> None:
    checkpoints = tmp_path / "m.checkpoints"
    checkpoints.mkdir()
    (checkpoints / "precious.txt").write_text("mine")
    fit = ["fit", *[scene_file] * scenes, "--out", str(tmp_path / "m"), *SMALL]
    assert cli.main(fit) == 0
    assert cli.main([*fit, "--overwrite"]) == 0
    assert [p.name for p in checkpoints.iterdir()] == ["precious.txt"]
    (checkpoints / "precious.txt").unlink()
    assert cli.main([*fit, "--overwrite"]) == 0
    assert not checkpoints.exists()


def test_the_pieces(tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, cubes = tmp_path / "model", tmp_path / "cubes"
    assert cli.main(["fit", scene_file, "--out", str(model), *SMALL]) == 0
    assert "3 endmembers, 20 bands" in capsys.readouterr().out
    arguments = ["sample", str(model), "--out", str(cubes), "-n", "2", "--size", "16x20"]
    assert cli.main([*arguments, "--sampler-steps", "2", "--format", "mat"]) == 0
    assert "2 cubes of 16 x 20 pixels and 20 bands" in capsys.readouterr().out
    assert load_scene(cubes / "cube-000.mat").shape == (16, 20, 20)
    report = tmp_path / "numbers.json"
    assert cli.main(["metrics", str(cubes), scene_file, "--json", str(report)]) == 0
    assert "Block diversity:" in capsys.readouterr().out
    assert json.loads(report.read_text())["settings"]["stride"] == 1


def test_the_papers_variants(tmp_path: Path, scene_file: str) -> None:
    from hud_fast.diffusion import HUD

    arguments = ["fit", scene_file, "--out", str(tmp_path / "m"), *SMALL]
    assert cli.main([*arguments, "--raw-latent", "--encoder", "linear", "--seed", "7"]) == 0
    model = HUD.load(tmp_path / "m")
    assert (model.latent.raw, model.encoder, model.seed) == (True, "linear", 7)


def test_sample_from_a_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "more.npy")
    arguments = ["sample", str(finished), "--out", out, "-n", "3", "--size", "16"]
    assert cli.main([*arguments, "--sampler-steps", "2"]) == 0
    made = np.load(out)
    first = np.load(finished / "generated" / "generated.npy")
    # Cube i depends on the seed and i only: more cubes do not change the first ones.
    assert np.array_equal(made[:2], first)


def test_unmix(tmp_path: Path, scene_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "unmixed"
    assert cli.main(["unmix", scene_file, "--out", str(out), "--endmembers", "auto"]) == 0
    assert re.search(
        r"endmembers rebuild the scene's spectra with a mean cosine of 0\.99",
        capsys.readouterr().out,
    )
    assert load_scene(out / "abundances.mat", layout="HWC").shape[:2] == (70, 40)
    assert json.loads((out / "unmixing.json").read_text())["pixels"] == 2800


def test_no_data_is_left_out_told_and_kept_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = simulate_scene(24, 20, C=12, D=3, seed=0).cube.copy()
    cube[:, :3] = -1
    np.save(tmp_path / "line.npy", cube)
    command = ["unmix", str(tmp_path / "line.npy"), "--layout", "HWC", *SMALL[:2], "--threads", "1"]
    lost = {}
    for choice in ("auto", "-1", "none"):
        out = tmp_path / choice
        assert cli.main([*command, "--no-data", choice, "--out", str(out)]) == 0
        told = (
            "Note: 72 pixels hold -1 in every band: taken as no data; `--no-data none` keeps them"
        )
        assert (told in capsys.readouterr().err) == (choice == "auto")
        lost[choice] = json.loads((out / "unmixing.json").read_text())["left_out"]
    assert lost == {"auto": 72, "-1": 72, "none": 0}
    text = refused(capsys, *command, "--no-data", "nil", "--out", str(tmp_path / "x"))
    assert "--no-data must be a number, auto or none, got nil" in text


def test_what_was_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cube = simulate_scene(40, 30, C=20, D=3, seed=0).cube.copy()
    cubes = np.stack([cube[:8, :8]] * 4)
    cubes[1] = np.nan
    cube[0, :7] = np.nan
    np.save(tmp_path / "real.npy", cube)
    np.savez(tmp_path / "cubes.npz", cubes=cubes)
    real = str(tmp_path / "real.npy")
    assert cli.main(["metrics", str(tmp_path / "cubes.npz"), real, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "Note: 1 of 4 cubes was left out of the block diversity: it has pixels that are" in shown
    assert "Note: 7 of 1,200 pixels of the real scene were left out" in shown
    assert cli.main(["unmix", real, "--endmembers", "3", "--out", str(tmp_path / "u")]) == 0
    assert "Note: 7 of 1,200 pixels were left out" in capsys.readouterr().out


def test_an_option_that_cannot_apply_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_scene(simulate_scene(20, 20, C=8, D=3, seed=0), tmp_path / "a.hdr")
    unmix = ["unmix", str(path), "--out", str(tmp_path / "u")]
    for option in (["--variable", "foo"], ["--layout", "CHW"], ["--shape", "3x4"]):
        assert f"`{option[0][2:]}` must not be given for a file of the kind envi" in refused(
            capsys, *unmix, *option
        )
    assert not (tmp_path / "u").exists()


def test_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path))
    monkeypatch.delenv("HUD_FAST_DATA", raising=False)
    text = refused(capsys, "fetch", "salinass")
    assert "did you mean salinas or salinas-a?" in text
    text = refused(capsys, "fetch", "salinas", "--mirror", str(tmp_path), code=1)
    assert "Salinas_corrected.mat" in text


def test_fetch_prints_the_path(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUD_FAST_DATA", str(data_dir))
    assert cli.main(["fetch", "samson"]) == 0
    assert capsys.readouterr().out.strip().endswith("samson_1.mat")


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    from hud_fast.diffusion import PRESETS
    from hud_fast.scenes import CATALOGUE

    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("torch", "isa", "processor", "GPU", *PRESETS, *CATALOGUE):
        assert word in text
    assert [preset.value for preset in Preset] == list(PRESETS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hud-fast ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_and_has_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main([command, "--help"]) == 0
    text = plain(capsys.readouterr().out)
    assert f"Usage: hud-fast {command}" in text
    assert re.search(rf"Examples? hud-fast {command}", text)


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = plain(capsys.readouterr().out)
    for command in COMMANDS:
        assert re.search(rf" {command} [A-Z]", text)


def test_the_options_default_to_the_pipelines_own() -> None:
    from hud_fast.pipeline import ModelOptions, SampleOptions, SceneOptions

    assert Reading().options() == SceneOptions()
    assert Model().options(General()) == ModelOptions()
    assert Sampling().options() == SampleOptions()
    chosen = Model(endmembers="4", set=["batch=2"], start_from="shipped").options(General(seed=3))
    assert chosen == ModelOptions(endmembers=4, settings=("batch=2",), start="shipped", seed=3)


MISTAKES = [
    (["rum"], r"No such command 'rum'"),
    (["run", "SCENE"], r"Missing option '--out' / '-o'\.? \(see hud-fast run --help\)"),
    (["run", "--out", "x"], r"Missing argument"),
    (["run", "SCENE", "--out", "OUT", "--steps", "0"], r"Invalid value for '--steps'"),
    (["run", "SCENE", "--out", "OUT", "--preset", "huge"], r"Invalid value for '--preset'"),
    (["run", "SCENE", "--out", "OUT", "--endmembers", "x"], r"--endmembers must be a number from"),
    (["run", "SCENE", "--out", "OUT", "--endmembers", "0"], r"--endmembers must be a number from"),
    (["run", "SCENE", "--out", "OUT", "--size", "8x8x8"], r"--size must be N or ROWSxCOLUMNS"),
    (["run", "SCENE", "--out", "OUT", "--shape", "a"], r"--shape must be N or ROWSxCOLUMNS"),
    (["run", "SCENE", "--out", "OUT", "--endmembers", "30"], r"`endmembers` must be at most 20"),
    (["run", "SCENE", "--out", "OUT", "--wavelengths", "no.txt"], r"no\.txt"),
    (["run", "SCENE", "--out", "OUT", "--set", "colour=red"], r"a setting must be one of"),
    (["fit", "SCENE", "--out", "OUT", "--set", "batch=x"], r"`batch` must be a whole number"),
    (["run", "nothing.mat", "--out", "OUT"], r"must be an existing file or a catalogue name"),
    (["run", "samsom", "--out", "OUT"], r"did you mean samson\?"),
    (["run", "SCENE", "--out", "SCENE"], r"is a file: --out must be a folder"),
    (["run", "SCENE", "--out", "/proc/nothing"], r"cannot write to /proc/nothing"),
    (["unmix", "SCENE", "--out", "/proc/nothing"], r"cannot write to /proc/nothing"),
    (["sample", "nothing", "--out", "OUT"], r"must hold a model"),
    (["sample", "nothing", "--out", "a.foo"], r"--out must end in one of .*\.mat.* got a\.foo"),
    (["sample", "nothing", "--out", "a.hdr"], r"holds one cube, and 64 .* give --count 1"),
    (["metrics", "nothing", "SCENE"], r"must be an existing file or a catalogue name"),
    (["bench", "--groups", "fcls,simplx"], r"got 'simplx'; did you mean simplex\?"),
    (
        ["bench", "--groups", "fcls", "--only", "x"],
        r"`only` must be part of a case's name, such as",
    ),
    (["bench", "--groups", "notes", "--quick"], r"\(these groups have none here\)"),
    (["bench", "--threads", "0"], r"Invalid value for '--threads'"),
    *[
        (["fit", "SCENE", "--out", "OUT", "--memory", size], r"--memory must be .* such as 2G, got")
        for size in ("2", "0G", "G", "-1G", "2X", "2GB2", "nanG", "")
    ],
    (["bench", "--groups", "notes", "--out", "SCENE"], r"field\.mat is a file"),
    (["fetch", "nowhere"], r"must be one of indian-pines"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_end_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    scene_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"SCENE": scene_file, "OUT": str(tmp_path / "out")}
    assert re.search(message, refused(capsys, *[places.get(a, a) for a in arguments]))


def test_memory_is_of_one_command(
    tmp_path: Path,
    scene_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unmix = ["unmix", scene_file, "--out", str(tmp_path / "out"), "--memory"]
    assert "which needs 240 bytes where 0 bytes are free" in refused(capsys, *unmix, "1K", code=1)
    assert load_scene(scene_file).shape == (70, 40, 20)
    monkeypatch.setattr("hud_fast._limits.resident_memory", lambda _: 0)  # as of a new process
    assert "this process may have 250.0 MiB" in refused(capsys, *unmix, "250M")
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there(
    tmp_path: Path,
    scene_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = refused(capsys, "run", scene_file, "--out", str(tmp_path), "--device", "cuda")
    assert "torch sees no GPU here" in text


@pytest.mark.parametrize(
    "content", [b"", b"not a file of MATLAB's", b"MATLAB 5.0 MAT-file" + bytes(109)]
)
def test_broken_files(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.mat").write_bytes(content)
    text = refused(capsys, "run", str(tmp_path / "broken.mat"), "--out", str(tmp_path / "out"))
    assert "broken.mat" in text
    assert not (tmp_path / "out").exists()


def test_a_scene_without_a_valid_pixel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "nan.npy", np.full((40, 40, 20), np.nan, np.float32))
    text = refused(
        capsys, "run", str(tmp_path / "nan.npy"), "--out", str(tmp_path / "out"), "--layout", "HWC"
    )
    assert "valid pixel" in text


def test_traceback_on_request(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="existing file"):
        cli.main(["run", "nothing.mat", "--out", str(tmp_path), "--traceback"])


def in_a_process(*arguments: str) -> list[str]:
    """The command as its own process, from the same tree and without coverage of this one's path."""
    return [sys.executable, "-P", "-m", "hud_fast", *arguments]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_standard_output(scene_file: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            in_a_process("info"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, hud_fast.cli; "
        "print([m for m in ('torch', 'numpy', 'scipy', 'matplotlib', 'diffusers') if m in sys.modules])"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - start < 5  # about 0.3 s; the machine may be busy


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, scene_file: str) -> None:
    out = tmp_path / "run"
    arguments = ["run", scene_file, "--out", str(out), *SMALL, "--steps", "100000"]
    process = subprocess.Popen(
        in_a_process(*arguments),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # a suite started in the background by a shell inherits an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Training"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    # a shell calls both 130: under `-m`, Python dies of the signal itself where that came in the middle of an exec()
    assert process.returncode in (130, -signal.SIGINT)
    assert text.splitlines()[-1] == "Interrupted. Give the same command again to go on."
    assert json.loads((out / "run.json").read_text())["status"] == "running"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_end_is_told_and_an_ignored_one_ignored(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = signal.Signals[name]

    def ended() -> str:
        os.kill(os.getpid(), number)
        return "went on"

    monkeypatch.setattr("hud_fast.cli.info.info_text", ended)
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        assert cli.main(["info"]) == 128 + number
        assert capsys.readouterr().err == f"Stopped by {name}.\n"
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        assert cli.main(["info"]) == 0
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().out == "went on\n"


def test_our_warnings_are_notes_and_others_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(*_: object, **__: object) -> str:
        warnings.warn("a library's own business", DeprecationWarning, stacklevel=1)
        warnings.warn_explicit("labels\n left out", UserWarning, "f.py", 1, "hud_fast.pipeline.x")
        return "text"

    monkeypatch.setattr("hud_fast.cli.info.info_text", noisy)
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().err == "Note: labels left out\n"


def test_augment_says_by_how_much_and_how_sure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    scene = simulate_scene(40, 40, C=12, D=3, smoothness=3, seed=5)
    assert scene.truth is not None
    shares = scene.truth.abundances
    np.save(tmp_path / "gt.npy", np.where(shares.max(-1) > 0.6, shares.argmax(-1) + 1, 0))
    save_scene(scene, tmp_path / "field.npz")
    out = tmp_path / "out"
    command = ["augment", str(tmp_path / "field.npz"), "--labels", str(tmp_path / "gt.npy")]
    command += ["--per-class", "3", "--draws", "2", "--classifiers", "svm", "--added", "8"]
    command += ["--rows", "real,flips,mixtures", "--device", "cpu", "--out", str(out)]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "3 labels a class, in per cent" in shown
    assert re.search(r"flips, turns and noise .*\d+\.\d \(-?\d+\.\d to -?\d+\.\d\)", shown)
    assert "Leak check passed" in shown
    assert shown.splitlines()[-1] == f"Tables and figures: {out / 'report.html'}"
    result = json.loads((out / "augment.json").read_text())
    assert result["settings"]["per_class"] == [3]
    assert result["settings"]["rows"] == ["real", "flips", "mixtures"]
    assert "Leak check passed" in (out / "report.html").read_text()
    assert cli.main(command) == 0  # all is there: drawn and told again
    assert "draw 2: made already" in capsys.readouterr().err
    assert "was made with seed = 0, not 1" in refused(capsys, *command, "--seed", "1")
    assert "--rows must be of real, flips" in refused(capsys, *command, "--rows", "real,nothing")
    wrong = [one for one in command if one not in ("--labels", str(tmp_path / "gt.npy"))]
    assert "has no labels of its own: give --labels" in refused(capsys, *wrong)


def test_the_names_that_augment_lists_are_those_of_the_test() -> None:
    from hud_fast import augmentation
    from hud_fast.cli import augment

    assert tuple(augmentation.CLASSIFIERS) == augment.CLASSIFIERS
    assert augmentation.ROWS == augment.ROWS
