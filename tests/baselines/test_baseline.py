from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast.baselines import VAE, WGANGP, Baseline, Scaling, Settings, training
from hud_fast.baselines.baseline import FOLDER, WEIGHTS
from hud_fast.baselines.training import Stage
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.checkpoint import DamagedFileError
from hud_fast.scenes import Scene, simulate_scene


@dataclass(frozen=True)
class TwiceSettings(Settings):
    crop: int = 8
    steps: int = 5
    rate: float = 0.1


class Twice(Baseline):
    """Two stages, each of one number with momentum and a draw a step; the second learns from the first."""

    name = "twice"
    title = "Twice"
    source = "a test"
    budgets = dict.fromkeys(("micro", "demo", "paper"), TwiceSettings())
    settings: TwiceSettings

    def build(self) -> nn.ModuleDict:
        return nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("a", "b")})

    def stages(self, windows: Windows) -> list[Stage]:
        made = []
        for name in ("a", "b"):
            adam = torch.optim.Adam(self.networks[name].parameters(), self.settings.rate)

            def step(_: int, name: str = name, adam: torch.optim.Optimizer = adam) -> Tensor:
                drawn = torch.randn(()) + windows.draw(1, torch.default_generator).mean()
                goal = drawn + self.networks["a"].weight.detach() * (name == "b")
                loss = (self.networks[name].weight - goal).square().sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
                return loss.detach()

            made.append(Stage(name, self.settings.steps, step, {"adam": adam}, lambda k: 0.9**k))
        return made

    def draw(self, samples: range, seed: int) -> Tensor:
        return self.noise(samples, seed, self.C, 8, 8) * self.networks["b"].weight

    def one_pass(self) -> None:
        self.networks["b"](torch.zeros(1))


class Stop(Exception):
    pass


def stop_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise Stop

    return progress


def bits(model: Baseline) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.networks.state_dict().items()}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 40, C=12, D=3, seed=0)


@pytest.fixture(scope="module")
def model(scene: Scene) -> VAE:
    return VAE.fit(scene, budget="micro", seed=1, device="cpu")


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EVERY", -1.0)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("killed", [3, 5, 6, 8])  # in the first stage, at its end, in the second
def test_a_training_that_is_killed_goes_on_to_the_same_bits(
    scene: Scene, tmp_path: Path, killed: int
) -> None:
    whole = Twice.fit(scene, device="cpu")
    with pytest.raises(Stop):
        Twice.fit(scene, device="cpu", checkpoint_dir=tmp_path, progress=stop_at(killed))
    seen: list[tuple[int, int]] = []
    resumed = Twice.fit(
        scene, device="cpu", checkpoint_dir=tmp_path, progress=lambda *told: seen.append(told)
    )
    assert seen == [(step, 10) for step in range(killed + 1, 11)]
    assert bits(resumed) == bits(whole)
    assert [(e["stage"], e["step"], e["loss"]) for e in resumed.history] == [
        (e["stage"], e["step"], e["loss"]) for e in whole.history
    ]
    assert [e["stage"] for e in whole.history] == 5 * ["a"] + 5 * ["b"]
    seconds = [e["seconds"] for e in resumed.history]
    assert seconds == sorted(seconds)


@pytest.mark.usefixtures("every_step")
def test_states_of_another_training(scene: Scene, tmp_path: Path) -> None:
    whole = Twice.fit(scene, device="cpu", checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="`checkpoint_dir` must hold states of this training"):
        Twice.fit(scene, device="cpu", seed=1, checkpoint_dir=tmp_path)
    other = scene.replace(cube=scene.cube[::-1].copy())  # the same size, range and name
    with pytest.raises(ValueError, match="`checkpoint_dir` must hold states of this training"):
        Twice.fit(other, device="cpu", checkpoint_dir=tmp_path)
    anew = Twice.fit(scene, device="cpu", seed=1, checkpoint_dir=tmp_path, resume=False)
    assert bits(anew) == bits(Twice.fit(scene, device="cpu", seed=1)) != bits(whole)


def test_a_loss_that_is_not_finite(scene: Scene) -> None:
    tiny = Scaling(0.0, 1e-38)  # 2 / 1e-38 is a float32, sums of such numbers are none
    with pytest.raises(RuntimeError, match=r"fit: the loss of a is inf after 1 steps"):
        Twice.fit(scene, device="cpu", scaling=tiny)


def test_nothing_random_is_taken_from_the_caller(scene: Scene) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    Twice.fit(scene, device="cpu").sample(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_do_not_depend_on_their_company(model: VAE) -> None:
    together = model.sample(21, seed=2)
    assert together.shape == (21, 32, 32, 12)
    assert together.dtype == np.float32
    for n, first in ((21, 0), (1, 0), (1, 20), (9, 5), (3, 15)):
        np.testing.assert_array_equal(
            model.sample(n, seed=2, first=first), together[first : first + n]
        )
    assert len(np.unique(together[:, 0, 0, 0])) == 21
    assert not np.array_equal(model.sample(1, seed=3)[0], together[0])
    told: list[tuple[int, int]] = []
    model.sample(9, first=5, progress=lambda *one: told.append(one))
    assert told == [(3, 9), (9, 9)]


def test_save_and_load(model: VAE, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = VAE.load(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(again.sample(3, seed=4), model.sample(3, seed=4))
    assert json.loads(json.dumps(again.summary())) == model.summary()
    assert again.history == model.history
    assert (again.scaling, again.settings, again.scene.rgb_bands) == (
        model.scaling,
        model.settings,
        model.scene.rgb_bands,
    )
    assert not any(p.requires_grad for p in again.networks.parameters())
    again.save(tmp_path / "m")
    with pytest.raises(
        FileExistsError, match=r"must be new, empty or a saved baseline.* with m in it"
    ):
        model.save(tmp_path)


def forge(model: Baseline, folder: Path, where: str, value: Any) -> None:
    """The model's folder with one value changed, its checksums right."""
    model.save(folder)
    config, (weights,) = FOLDER.read(folder)
    *parts, name = where.split("/")
    if parts == ["weights"]:
        weights[name] = value(weights[name])
    else:
        inside = config
        for part in parts:
            inside = inside[part]
        inside[name] = value
    FOLDER.write(folder, config, {WEIGHTS: weights})


def test_a_forged_folder_of_the_same_values_loads(model: VAE, tmp_path: Path) -> None:
    forge(model, tmp_path / "m", "seed", 1)
    assert bits(VAE.load(tmp_path / "m", device="cpu")) == bits(model)


SPECTRUM = "weights/decoder.8.weight"


@pytest.mark.parametrize(
    ("where", "value", "text"),
    [
        ("budget", "huge", "`budget` must be one of micro, demo, paper, got huge"),
        ("settings/latent", 5, "is of another network"),
        ("settings/latent", 65_536, "is of another network"),
        ("settings/outer", 65_536, "is of another network"),
        ("settings/latent", 65_537, "settings are of another method or out of range"),
        ("settings/latent", 4.0, "settings are of another method or out of range"),
        ("settings/batch", True, "settings are of another method or out of range"),
        ("settings/decay", float("nan"), "settings are of another method or out of range"),
        ("settings/depth", 3, "settings are of another method or out of range"),
        ("settings/crop", 36, "`crop` must be a multiple of 8, got 36"),
        ("settings/crop", 65_536, "is of another network"),
        ("settings", [], "`settings` must be a record, got list"),
        ("C", 13, "is of another network"),
        ("C", 65_537, "`C` must be a whole number from 1 to 65536, got 65537"),
        ("scaling/low", "0", "not supported between"),
        ("scaling/low", 1e300, "must be finite with low < high"),
        ("scaling/high", 10**400, "must be finite with low < high"),
        ("scaling/tilt", 1.0, "unexpected keyword argument"),
        ("scene/rgb_bands", [0, 1, 12], "`rgb_bands` must be 3 whole numbers from 0 to 11"),
        ("history", None, "`history` must be a list of stage, step, loss and seconds"),
        ("history", [{"step": 1}], "`history` must be a list of stage, step, loss and seconds"),
        (SPECTRUM, lambda w: w * torch.nan, "holds NaN or a number beyond 1e\\+06"),
        (SPECTRUM, lambda w: w + 2e6, "holds NaN or a number beyond 1e\\+06"),
        (SPECTRUM, lambda w: w.long(), "is of another network"),
        (SPECTRUM, lambda w: w[:1], "is of another network"),
        ("weights/more", lambda _: torch.zeros(1), "is of another network"),
        ("weights/decoder.3.running_var", lambda v: -v, "holds a variance below 0"),
    ],
)
def test_forged_folders(model: VAE, tmp_path: Path, where: str, value: Any, text: str) -> None:
    if where == "weights/more":  # a tensor that no network asks for
        model.save(tmp_path / "m")
        config, (weights,) = FOLDER.read(tmp_path / "m")
        FOLDER.write(tmp_path / "m", config, {WEIGHTS: weights | {"more": value(None)}})
    else:
        forge(model, tmp_path / "m", where, value)
    with pytest.raises(DamagedFileError, match=rf"VAE.load: .* is damaged \(.*{text}"):
        VAE.load(tmp_path / "m", device="cpu")


def test_a_folder_of_another_method(model: VAE, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="`folder` must hold a model of wgan-gp, got vae in"):
        WGANGP.load(tmp_path / "m", device="cpu")
    with pytest.raises(FileNotFoundError, match=r"written by Baseline\.save"):
        VAE.load(tmp_path / "none", device="cpu")


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_damaged_folder(model: VAE, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "m")
    path = tmp_path / "m" / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedFileError, match="is damaged"):
        VAE.load(tmp_path / "m", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"scene": np.ones((40, 40, 3))}, TypeError, "`scene` must be a Scene, got ndarray"),
        (
            {"budget": "huge"},
            ValueError,
            '`budget` must be "micro" or "demo" or "paper", got \'huge\'',
        ),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"device": "abacus"}, RuntimeError, "`device` must be a torch device, got 'abacus'"),
        ({"scaling": (0, 1)}, TypeError, "`scaling` must be a Scaling, got tuple"),
        ({"settings": {"depth": 1}}, ValueError, "`settings` must be of batch, .* got 'depth'"),
        (
            {"settings": {"batch": 2.0}},
            ValueError,
            "`settings` must hold batch as a whole number from 0 to 65536, got 2.0",
        ),
        (
            {"settings": {"decay": -1.0}},
            ValueError,
            "`settings` must hold decay as a float from 0 to 65536, got -1.0",
        ),
        ({"settings": {"steps": 65_537}}, ValueError, "`settings` must hold steps as a whole"),
    ],
)
def test_fit_errors(
    scene: Scene, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"VAE.fit: {text}"):
        VAE.fit(**({"scene": scene, "budget": "micro", "device": "cpu"} | arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"n": 0}, ValueError, "`n` must be at least 1, got 0"),
        ({"n": 1.5}, TypeError, "`n` must be an int, got float"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"first": -1}, ValueError, "`first` must be at least 0, got -1"),
    ],
)
def test_sample_errors(
    model: VAE, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"VAE.sample: {text}"):
        model.sample(**({"n": 1} | arguments))


def test_a_scene_without_a_window(scene: Scene) -> None:
    small = scene.crop(slice(0, 31), slice(0, 40))
    with pytest.raises(ValueError, match=r"must hold a 32 x 32 window .* got none in 31 x 40"):
        VAE.fit(small, budget="micro", device="cpu")
    mask = np.ones((40, 40), bool)
    mask[20, 20] = False
    with pytest.raises(ValueError, match="must hold a 32 x 32 window without masked pixels"):
        VAE.fit(scene.replace(mask=mask), budget="micro", device="cpu")


def test_masked_pixels_and_bad_bands_are_never_read(scene: Scene) -> None:
    mask, good = np.ones((40, 40), bool), np.ones(12, bool)
    mask[:3, 5:9] = False
    good[4] = False
    fitted = []
    for filler in (np.nan, 1e30, 0.0):
        cube = scene.cube.copy()
        cube[~mask] = filler
        cube[..., 4] = filler
        masked = Scene(cube, mask=mask, good_bands=good)
        fitted.append(Twice.fit(masked, device="cpu"))
    assert fitted[0].C == 11
    assert fitted[0].scaling == fitted[1].scaling == fitted[2].scaling
    assert bits(fitted[0]) == bits(fitted[1]) == bits(fitted[2])


def test_scaling_is_one_linear_map(scene: Scene) -> None:
    cube = scene.cube.astype(np.float64)
    scaling = Scaling.of(scene)
    low, high = min(0.0, cube.min()), cube.max()
    truth = 2 * (cube - low) / (high - low) - 1
    unit = scaling.encode(torch.from_numpy(scene.cube))
    assert np.abs(unit.double().numpy() - truth).max() <= 1e-6
    assert np.abs(scaling.decode(unit).double().numpy() - cube).max() <= 1e-6 * high
    clipped = Scaling(0.0, high / 2, clip=True).encode(torch.from_numpy(scene.cube))
    assert np.abs(clipped.numpy() - np.clip(4 * cube / high - 1, -1, 1)).max() <= 1e-6
    assert (
        Scaling.of(scene.replace(cube=np.zeros_like(scene.cube), zeros_are_data=True)).high == 1.0
    )
    for low, high in ((1.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(ValueError, match="`low` and `high` must be finite with low < high"):
            Scaling(low, high)


def turns_of(cube: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.rot90(one, k) for one in (cube, cube.swapaxes(0, 1)) for k in range(4)]


def contains(scene: NDArray[Any], window: NDArray[Any]) -> bool:
    """Whether the scene holds the window somewhere, to the last bits of float32."""
    side = len(window)
    corners = np.argwhere(np.abs(scene - window[0, 0]).max(axis=-1) <= 1e-5)
    return any(
        scene[i : i + side, j : j + side].shape == window.shape
        and np.abs(scene[i : i + side, j : j + side] - window).max() <= 1e-5
        for i, j in corners
    )


def test_windows_are_windows_of_the_scene(scene: Scene) -> None:
    windows = Windows(scene, Scaling(0.0, 1.0), 32, torch.device("cpu"))
    assert windows.count == 81
    drawn = windows.scaling.decode(windows.draw(20, torch.Generator().manual_seed(0)))
    for one in drawn.double().numpy().transpose(0, 2, 3, 1):
        assert any(contains(scene.cube, turned) for turned in turns_of(one))
