from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launch import launch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import silu

from hud_fast._limits import available_cores
from hud_fast.diffusion.checkpoint import CheckpointFolder, read_tensors
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.loss import loss_weights, squared_error
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.training import Trainer, stratified_times, train


def make(
    abundances: NDArray[np.float32],
    preset: Preset,
    *,
    seed: int = 0,
    data: Mapping[str, Any] = {},
    replaced: bool = False,
) -> Trainer:
    space = LatentSpace.of(abundances)
    z = space.encode(abundances)[0]
    prior = Prior.of(z, torch.ones(z.shape[1:], dtype=torch.bool), space.mean, space.std)
    crops = CropSampler(z, np.ones(z.shape[1:], bool), crop=preset.crop)
    network = build_network(preset, len(z), prior=prior)
    if replaced:
        torch.manual_seed(0)
        network.unet = TwoConvolutions(4 * len(z), len(z))
    return Trainer(network, crops, preset, seed=seed, data=data)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    tensors, _ = trainer.state()
    return {name: tensor.clone() for name, tensor in tensors.items()}


def assert_same_bits(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


@pytest.mark.parametrize("prediction", ["epsilon", "v", "residual"])
def test_it_learns(abundances: NDArray[np.float32], micro: Preset, prediction: Any) -> None:
    """From 1, the loss of predicting 0, or from what the prior explains: that takes longest."""
    steps = {"epsilon": 120, "v": 90, "residual": 300}[prediction]
    preset = replace(micro, steps=steps, batch=8, log_every=steps // 6, learning_rate=5e-3)
    if prediction != "residual":
        preset = replace(preset, learning_rate=8e-3)
    trainer = make(abundances, replace(preset, prediction=prediction))
    train(trainer)
    losses = [entry["loss"] for entry in trainer.history]
    assert losses[0] > (0.1 if prediction == "residual" else 0.5)
    assert losses[-1] < (0.35 if prediction == "epsilon" else 0.97 * losses[0])
    assert [entry["step"] for entry in trainer.history] == [steps // 6 * k for k in range(1, 7)]


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": "v", "schedule": "cosine", "zero_terminal_snr": True},
        {"loss_weight": "min_snr"},
        {"prediction": "v", "loss_weight": "min_snr", "zero_terminal_snr": True},
        {"prediction": "residual", "schedule": "cosine", "steps": 180, "learning_rate": 5e-3},
        {"ema_warmup": False},
    ],
)
def test_every_option_learns(
    abundances: NDArray[np.float32], micro: Preset, change: dict[str, Any]
) -> None:
    preset = replace(micro, **{"steps": 90, "batch": 8, "learning_rate": 8e-3, **change})
    trainer = make(abundances, replace(preset, log_every=preset.steps // 3))
    train(trainer)
    first, _, last = (entry["loss"] for entry in trainer.history)
    assert last < 0.98 * first  # worst measured 0.95


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_make_the_same_step(
    abundances: NDArray[np.float32], micro: Preset, parts: int
) -> None:
    whole = make(abundances, replace(micro, batch=8, loss_weight="min_snr", log_every=1))
    split = make(
        abundances, replace(micro, batch=8, loss_weight="min_snr", log_every=1, accumulate=parts)
    )
    for trainer in (whole, split):
        train(trainer)
    ours, theirs = ([e["loss"] for e in t.history] for t in (split, whole))
    assert ours == pytest.approx(theirs, rel=1e-4)  # worst measured 3e-6, grown over 12 steps


def test_the_loss_of_min_snr(abundances: NDArray[np.float32], micro: Preset) -> None:
    """Both weights make the same loss of z_0: min(SNR, 5) times its squared error."""
    for prediction in ("epsilon", "v"):
        preset = replace(micro, loss_weight="min_snr", prediction=prediction)
        signal = NoiseSchedule().alphas_cumprod
        snr = signal / (1 - signal)
        # an error e of what is said is sqrt((1 - abar) / abar) e in z_0 for eps, sqrt(1 - abar) e for v
        of_clean = (1 - signal) / signal if prediction == "epsilon" else 1 - signal
        weights = loss_weights(preset)
        assert weights is not None
        torch.testing.assert_close(weights.double() / of_clean, snr.clamp_max(5), rtol=1e-5, atol=0)
    assert loss_weights(micro) is None
    said, target = torch.randn(2, 3, 2, 4, 4).double()
    each = torch.stack([(a - b).square().mean() for a, b in zip(said, target, strict=True)])
    weight = torch.tensor([1.0, 0.5, 0.0]).double()
    torch.testing.assert_close(squared_error(said, target, weight), (weight * each).mean())
    torch.testing.assert_close(squared_error(said, target, None), each.mean())


class TwoConvolutions(nn.Module):
    """In the U-Net's place: inductor compiles its dozens of kernels for minutes of a core, and these in seconds."""

    def __init__(self, channels: int, D: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, 8, 3, padding=1)
        self.conv_out = nn.Conv2d(8, D, 3, padding=1)

    def forward(self, z: Tensor, t: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        assert not return_dict
        return (self.conv_out(silu(self.conv_in(z)) * (1 + t.view(-1, 1, 1, 1) / 1000)),)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch's own import
@pytest.mark.slow
@pytest.mark.parametrize("part", ["U-Net, not generated", "two convolutions"])
def test_a_compiled_network_makes_the_same_steps(
    abundances: NDArray[np.float32], micro: Preset, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole network is traced and differentiated by torch.compile; code is generated for a smaller one."""
    preset = replace(micro, steps=4, log_every=1, prediction="residual")
    calls: list[Any] = []

    def compiling(network: Any, **options: Any) -> Any:
        calls.append(network)
        if part == "U-Net, not generated":
            options |= {"backend": "aot_eager", "fullgraph": True}
        return torch_compile(network, **options)

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compiling)

    def trained(compile: bool) -> Trainer:
        trainer = make(abundances, replace(preset, compile=compile), replaced=part[0] == "t")
        train(trainer)
        return trainer

    plain, compiled = trained(False), trained(True)
    assert calls == [compiled.network]
    ours, theirs = ([e["loss"] for e in t.history] for t in (compiled, plain))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert weights(plain).keys() == weights(compiled).keys()


def test_compiling_without_a_compiler(
    abundances: NDArray[np.float32], micro: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RuntimeError, match="`compile` must have a C\\+\\+ compiler on a CPU"):
        make(abundances, replace(micro, compile=True))


def test_out_of_memory_says_what_to_lower(
    abundances: NDArray[np.float32], micro: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(abundances, micro)
    monkeypatch.setattr(trainer.crops, "cut", lambda _: torch.empty(1 << 46))
    with pytest.raises(
        MemoryError, match=r"raise `accumulate` = 1, .* a batch of 2 .* or lower `batch`"
    ):
        trainer.step()


def test_the_loading_of_windows_is_timed(abundances: NDArray[np.float32], micro: Preset) -> None:
    trainer = make(abundances, micro)
    train(trainer)
    for entry in trainer.history:
        assert 0 < entry["loading"] < entry["seconds"]


def test_resuming_anywhere_gives_the_same_bits(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    whole = make(abundances, micro)
    train(whole)
    for stop in (1, 4, 7, 11):
        first = make(abundances, replace(micro, checkpoint_every=1), seed=0)
        folder = tmp_path / str(stop)
        for _ in range(stop):
            first.step()
        CheckpointFolder(folder).save(stop, *first.state())
        second = make(abundances, micro)
        train(second, folder=folder)
        assert_same_bits(weights(second), weights(whole))
        assert [e["loss"] for e in second.history] == [e["loss"] for e in whole.history]


def test_a_damaged_newest_checkpoint_costs_one_interval(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    whole = make(abundances, micro)
    train(whole, folder=tmp_path)
    newest = CheckpointFolder(tmp_path).paths()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    again = make(abundances, micro)
    counted: list[int] = []
    with pytest.warns(UserWarning, match="the one before is used"):
        train(again, folder=tmp_path, progress=lambda done, _: counted.append(done))
    assert counted == [8, 9, 10, 11, 12]
    assert_same_bits(weights(again), weights(whole))


# In a process without threads, which `launch` has at hand: the trainings are forked children.
SCRIPT = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from diffusion.conftest import MICRO, smooth_abundances
from diffusion.test_training import make
from hud_fast.diffusion.training import train

def start(folder):
    child = os.fork()
    if child:
        return child
    preset = replace(MICRO, steps=40, checkpoint_every=2)
    train(make(smooth_abundances(20, 24, 3), preset), folder=folder)
    os._exit(0)

calm, killed = Path(sys.argv[1], "calm"), Path(sys.argv[1], "killed")
assert os.waitpid(start(calm), 0)[1] == 0
kills = 0
for _ in range(3):
    known = set(killed.glob("step-*"))
    child = start(killed)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if set(killed.glob("step-*")) - known:  # it got on; now at any moment
            time.sleep(random.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            kills += os.waitpid(child, 0)[1] == signal.SIGKILL
            break
        time.sleep(0.005)
assert os.waitpid(start(killed), 0)[1] == 0
print(kills)
"""


def test_killed_at_random_moments_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL, again and again, until one run gets through; compared with an uninterrupted run."""
    (run,) = launch("-c", SCRIPT, str(tmp_path), count=1)
    assert run.code == 0, run.err
    assert int(run.out) >= 1, "each training was over before it could be killed"
    name = "step-0000000040.safetensors"
    one, first = read_tensors(tmp_path / "calm" / name)
    other, second = read_tensors(tmp_path / "killed" / name)
    assert_same_bits(one, other)
    assert [e["loss"] for e in first["history"]] == [e["loss"] for e in second["history"]]


def test_a_finished_training_is_only_read(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    first = make(abundances, micro)
    train(first, folder=tmp_path)
    again = make(abundances, micro)
    counted: list[int] = []
    train(again, folder=tmp_path, progress=lambda done, _: counted.append(done))
    assert counted == [12]
    assert_same_bits(weights(again), weights(first))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 2e-3}, "`learning_rate` = 0.001, this training has 0.002"),
        ({"batch": 3}, "`batch` = 2, this training has 3"),
        ({"steps": 20}, "`steps` = 12, this training has 20"),
        ({"widths": (8, 12)}, "`widths`"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    abundances: NDArray[np.float32],
    micro: Preset,
    tmp_path: Path,
    change: dict[str, Any],
    named: str,
) -> None:
    train(make(abundances, micro), folder=tmp_path)
    with pytest.raises(ValueError, match=f"the checkpoint was made with {named}"):
        train(make(abundances, replace(micro, **change)), folder=tmp_path)


def test_other_seed_and_other_data_are_refused(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    train(make(abundances, micro, data={"means": [0.25, 0.75]}), folder=tmp_path)
    with pytest.raises(ValueError, match="`seed` = 0, this training has 1"):
        train(make(abundances, micro, seed=1, data={"means": [0.25, 0.75]}), folder=tmp_path)
    with pytest.raises(ValueError, match="`means`"):
        train(make(abundances, micro, data={"means": [0.35, 0.65]}), folder=tmp_path)
    # another CPU's last bits are no other data
    train(make(abundances, micro, data={"means": [0.2500001, 0.75]}), folder=tmp_path)


def test_starting_over(abundances: NDArray[np.float32], micro: Preset, tmp_path: Path) -> None:
    train(make(abundances, micro), folder=tmp_path)
    other = replace(micro, batch=3)
    train(make(abundances, other), folder=tmp_path, resume=False)
    train(make(abundances, other), folder=tmp_path)


def test_a_constant_rate_can_be_trained_longer(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    preset = replace(micro, decay="constant")
    train(make(abundances, preset), folder=tmp_path)
    longer = make(abundances, replace(preset, steps=16))
    train(longer, folder=tmp_path)
    whole = make(abundances, replace(preset, steps=16))
    train(whole)
    assert_same_bits(weights(longer), weights(whole))


def test_checkpoints_come_at_the_interval_and_at_the_end(
    abundances: NDArray[np.float32], micro: Preset, tmp_path: Path
) -> None:
    train(make(abundances, replace(micro, steps=10, keep=9)), folder=tmp_path)
    steps = [int(path.stem.split("-")[1]) for path in CheckpointFolder(tmp_path, 9).paths()]
    assert steps == [10, 8, 4]


def test_the_seed_decides(abundances: NDArray[np.float32], micro: Preset) -> None:
    trainers = [make(abundances, micro, seed=seed) for seed in (0, 0, 1)]
    for trainer in trainers:
        trainer.step()
    a, b, c = (weights(trainer) for trainer in trainers)
    assert_same_bits(a, b)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_learning_rate(abundances: NDArray[np.float32], micro: Preset) -> None:
    trainer = make(abundances, replace(micro, steps=100, warmup=4))
    rates = [trainer.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3 / 5)
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[-1] == pytest.approx(1e-5, rel=0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    constant = make(abundances, replace(micro, decay="constant"))
    assert constant.learning_rate(11) == 1e-3


def test_the_average_is_warmed_up(abundances: NDArray[np.float32], micro: Preset) -> None:
    """Decay 1 - (1 + k)^-3/4 with k = steps - 1, none in the first step: written out here."""
    trainer = make(abundances, micro)
    expected: dict[str, Tensor] = {}
    for step in range(5):
        trainer.step()
        decay = 0.0 if step == 0 else min(0.9, 1 - (1 + step) ** -0.75)
        for name, value in trainer.network.named_parameters():
            value = value.detach().clone()
            old = expected.get(name, torch.zeros_like(value))
            expected[name] = decay * old + (1 - decay) * value
    for name, value in trainer.averaged_weights().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_stratified_times_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.stack([stratified_times(10, 4, generator) for _ in range(4000)])
    share = torch.bincount(times.ravel(), minlength=10) / times.numel()
    torch.testing.assert_close(share, torch.full((10,), 0.1), atol=0.01, rtol=0)
    assert (times[:, 1:] >= times[:, :-1]).all()
    assert stratified_times(1000, 1, generator).shape == (1,)


def test_a_loss_that_is_not_finite_is_an_error(
    abundances: NDArray[np.float32], micro: Preset
) -> None:
    trainer = make(abundances, micro)
    with torch.no_grad():
        trainer.network.unet.conv_in.weight.fill_(float("inf"))
    with pytest.raises(
        RuntimeError, match="the loss became nan near step 3; lower `learning_rate`"
    ):
        train(trainer)


def test_workers_make_the_same_step(abundances: NDArray[np.float32], micro: Preset) -> None:
    """Two cores share a batch: the same bits at every run, one core's step to rounding."""
    preset = replace(micro, batch=8, log_every=1, steps=6)
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            trainer = make(abundances, preset)
            train(trainer)
            runs.append(trainer)
    finally:
        torch.set_num_threads(before)
    one, two, again = ([e["loss"] for e in t.history] for t in runs)
    assert two == pytest.approx(one, rel=1e-4)  # worst measured 3e-6, grown over the steps
    if available_cores() > 1:
        assert runs[1]._crew.count == 2  # by workers, not by the caller
        assert two == again
        assert_same_bits(weights(runs[1]), weights(runs[2]))
