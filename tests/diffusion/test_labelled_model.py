"""Models of labelled scenes: cubes with class maps, their bits, classes that are asked for, gaps, folders."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.conftest import MICRO
from diffusion.test_records import forge, put
from numpy.typing import NDArray

from hud_fast.diffusion import HUD, PRESETS, Preset
from hud_fast.diffusion.checkpoint import DamagedFileError, read_tensors, write_tensors
from hud_fast.diffusion.joint import JointLatent
from hud_fast.scenes import Scene

Array = NDArray[Any]
INSTANT = replace(PRESETS["instant"], crop=16)
NET = replace(MICRO, prediction="residual", steps=2, sampler_steps=2)
WAYS: dict[str, Preset] = {
    "instant": INSTANT,
    "network": replace(NET, patches="no"),
    "guided": replace(NET, patches="guided"),
}
NAMES = ("grass", "corn")


def fields(H: int = 26, W: int = 40) -> tuple[Array, Array]:
    """A cube of three fields side by side, the last a narrow one, and which is which, from 1."""
    random = np.random.default_rng(0)
    where = np.ones((H, W), int)
    where[:, W // 2 :] = 2
    where[:, -W // 8 :] = 5
    spectra = {k: random.uniform(0.2, 1, 10) for k in (1, 2, 5)}
    x = random.dirichlet((8, 1, 1), (H, W))
    cube = np.zeros((H, W, 10))
    kinds = list(spectra)
    for i, k in enumerate(kinds):
        others = [spectra[kinds[(i + j) % 3]] for j in range(3)]
        cube[where == k] = x[where == k] @ np.stack(others)
    return (cube + random.normal(0, 0.005, cube.shape)).astype(np.float32), where


def few(where: Array) -> Array:
    """Four labelled pixels of each class."""
    labels = np.zeros(where.shape, int)
    random = np.random.default_rng(1)
    for k in np.unique(where):
        labels.flat[random.choice(np.flatnonzero(where == k), 4, replace=False)] = k
    return labels


CUBE, WHERE = fields()
LABELS = few(WHERE)
GAPS = np.ones(WHERE.shape, bool)
GAPS[4:6, 3:9] = GAPS[20, 22:24] = GAPS[:, 0] = False


def fit(preset: Preset, scene: Any = None, labels: Any = LABELS, **options: Any) -> HUD:
    return HUD.fit(
        Scene(CUBE) if scene is None else scene,
        endmembers=3,
        labels=labels,
        label_names=options.pop("label_names", None if labels is None else NAMES),
        preset=preset,
        device="cpu",
        **options,
    )


@pytest.fixture(scope="module")
def models() -> dict[str, HUD]:
    """Of a scene with gaps, one for each way of making samples; and of the whole scene, by patches."""
    scene = Scene(CUBE, mask=GAPS)
    found = {name: fit(preset, scene) for name, preset in WAYS.items()}
    return {**found, "whole": fit(INSTANT)}


@pytest.fixture(params=list(WAYS))
def model(request: pytest.FixtureRequest, models: dict[str, HUD]) -> HUD:
    return models[request.param]


@pytest.fixture(autouse=True)
def unasked() -> Iterator[None]:
    """That patches cannot bring a share is said, and tested where it is the test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "HUD.sample: patches of the scene do not bring")
        yield


# --- what comes


def test_cubes_with_maps(model: HUD) -> None:
    cubes, maps = model.sample(3, classes=True, size=12)
    assert (cubes.shape, cubes.dtype) == ((3, 12, 12, 10), np.float32)
    assert (maps.shape, maps.dtype) == ((3, 12, 12), np.uint8)
    assert set(np.unique(maps)) <= {0, 1, 2, 5}
    assert np.isfinite(cubes).all()
    again, abundances, theirs = model.sample(3, classes=True, size=12, return_abundances=True)
    np.testing.assert_array_equal(again, cubes)
    np.testing.assert_array_equal(theirs, maps)
    assert abundances.shape == (3, 12, 12, 3)
    np.testing.assert_allclose(abundances @ model.endmembers, cubes, atol=1e-5)
    # without maps the same cubes, alone
    np.testing.assert_array_equal(model.sample(3, size=12), cubes)
    np.testing.assert_array_equal(model.sample(3, size=12, classes=False), cubes)


def test_every_door_gives_the_same(model: HUD) -> None:
    options: dict[str, Any] = {"classes": {"corn": 0.5}, "size": (12, 15), "seed": 2}
    cubes, abundances, maps = model.sample(3, return_abundances=True, **options)
    tensors = model.sample(3, return_abundances=True, as_tensors=True, **options)
    assert [one.dtype for one in tensors] == [torch.float32, torch.float32, torch.uint8]
    for ours, theirs in zip(tensors, (cubes, abundances, maps), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    batches = list(model.sample_batches(3, batch_size=2, **options))
    assert [len(batch) for batch in batches] == [3] * len(batches)
    for k, whole in enumerate((cubes, abundances, maps)):
        np.testing.assert_array_equal(np.concatenate([b[k] for b in batches]), whole)
    only = model.sample_abundances(3, **options)
    np.testing.assert_array_equal(only[0], abundances)
    np.testing.assert_array_equal(only[1], maps)
    plain = model.sample_abundances(1, size=12)
    assert isinstance(plain, np.ndarray)
    assert [len(batch) for batch in model.sample_batches(1, size=12)] == [2]


def test_maps_are_of_the_pixels_that_patches_took(models: dict[str, HUD]) -> None:
    """Each pixel's spectrum is one of the scene's mixtures, and its class the one that pixel has."""
    model = models["whole"]
    _, abundances, maps = model.sample(2, classes=True, return_abundances=True)
    assert model.classes is not None
    of = model.classes.map_of(model.classes.shares).numpy()
    there = {}
    for i, j in np.ndindex(*of.shape):
        there.setdefault(model.abundances[i, j].tobytes(), set()).add(int(of[i, j]))
    for mixture, number in zip(abundances.reshape(-1, 3), maps.ravel(), strict=True):
        assert number in there[mixture.tobytes()]


def test_large_numbers_of_classes() -> None:
    model = fit(INSTANT, labels=LABELS * 100)
    cubes, maps = model.sample(2, classes=True)
    assert (maps.dtype, len(cubes)) == (np.int32, 2)
    assert set(np.unique(maps)) <= {0, 100, 200, 500}
    assert model.sample(1, classes={500: 0.4}, as_tensors=True)[1].dtype == torch.int32


# --- bits


def test_labels_change_no_cube_of_patches(models: dict[str, HUD]) -> None:
    plain = fit(INSTANT, labels=None)
    assert plain.classes is None
    assert plain.residuals is None
    wanted = plain.sample(3, seed=4)
    np.testing.assert_array_equal(models["whole"].sample(3, seed=4), wanted)
    np.testing.assert_array_equal(models["whole"].sample(3, seed=4, classes=True)[0], wanted)


@pytest.mark.parametrize("way", ["instant", "network"])
def test_labels_of_the_scene_are_not_looked_at(way: str) -> None:
    scene = Scene(CUBE, mask=GAPS)
    plain = fit(WAYS[way], scene, None)
    unasked = fit(WAYS[way], scene.replace(labels=LABELS), None)
    assert unasked.classes is None
    np.testing.assert_array_equal(unasked.sample(2, size=12), plain.sample(2, size=12))


@pytest.mark.parametrize("classes", [True, {"corn": 0.4, 5: 0.2}], ids=["any", "asked"])
def test_sample_i_depends_on_seed_and_i(model: HUD, classes: Any) -> None:
    options: dict[str, Any] = {"classes": classes, "residuals": True, "size": 12, "seed": 7}
    cubes, maps = model.sample(6, **options)
    for n, first, batch_size in ((6, 0, 1), (3, 2, 4), (1, 5, 1), (2, 4, 16)):
        ours = model.sample(n, first=first, batch_size=batch_size, **options)
        np.testing.assert_array_equal(ours[0], cubes[first : first + n])
        np.testing.assert_array_equal(ours[1], maps[first : first + n])
    assert not np.array_equal(model.sample(1, **{**options, "seed": 8})[0], cubes[:1])


def test_residuals_are_added_last(model: HUD) -> None:
    options: dict[str, Any] = {"classes": True, "size": 12, "return_abundances": True}
    plain = model.sample(2, **options)
    rough = model.sample(2, residuals=True, **options)
    for k in (1, 2):
        np.testing.assert_array_equal(rough[k], plain[k])
    added = rough[0] - plain[0]
    assert model.residuals is not None
    values = model.residuals.values[np.isfinite(model.residuals.values).all(axis=-1)]
    assert added.any()
    spread = np.abs(values).max()
    assert np.abs(added).max() <= spread * 1.001
    np.testing.assert_array_equal(model.sample(2, residuals=True, size=12), rough[0])


def test_no_sample_holds_what_is_missing(models: dict[str, HUD]) -> None:
    for name in WAYS:
        cubes, maps = models[name].sample(4, classes=True, size=24, residuals=True)
        assert np.isfinite(cubes).all(), name
        assert maps.any(), name


# --- classes that are asked for


def test_more_comes_of_a_class_that_is_asked_of_patches() -> None:
    cube, where = fields(48, 72)
    model = fit(INSTANT, Scene(cube), few(where))

    def share(classes: Any) -> float:
        return float((model.sample(12, classes=classes, seed=1)[1] == 5).mean())

    usual = share(True)
    assert 0 < usual < 0.15
    assert share({5: 0.7}) > usual + 0.15  # measured 0.02 and 0.35


def test_a_network_heeds_guidance(models: dict[str, HUD]) -> None:
    model = models["network"]
    assert model.network is not None
    shaken = replace(model, network=_shaken(model))
    options: dict[str, Any] = {"size": 12, "sampler": "ddim", "steps": 2}
    free = shaken.sample(2, classes=True, **options)
    none = shaken.sample(2, classes={"corn": 0.9}, guidance=0, **options)
    for ours, theirs in zip(none, free, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one, two = (shaken.sample(2, classes={"corn": 0.9}, guidance=g, **options)[0] for g in (1, 2))
    assert not np.array_equal(one, free[0])
    assert not np.array_equal(one, two)
    usual = shaken.sample(2, classes={"corn": 0.9}, **options)[0]
    np.testing.assert_array_equal(usual, two)


def _shaken(model: HUD) -> Any:
    """The network with weights by which what is told counts: a training of four steps leaves it near nothing."""
    network = copy.deepcopy(model.network)
    torch.manual_seed(0)
    for layer in (network.told[-1], network.unet.conv_out):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.requires_grad_(False)


def test_a_class_that_patches_cannot_bring(models: dict[str, HUD]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models["whole"].sample(1, classes={1: 0.4})
        said = r"^HUD\.sample: patches of the scene do not bring the classes asked for: 0\.\d\d of 'class 5' for 1\.00"
        with pytest.warns(UserWarning, match=said):
            models["whole"].sample(1, classes={"class 5": 1.0})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"classes": {"wheat": 0.3}},
            r"`classes` must be of grass \(1\), corn \(2\), class 5 \(5\)",
        ),
        ({"classes": {"corn": 0}}, "`classes` must give 'corn' a share above 0"),
        ({"classes": {"corn": 1.5}}, "`classes` must give 'corn' a share above 0 and at most 1"),
        ({"classes": {1: 0.7, 2: 0.7}}, "`classes` must have shares that add up to 1 at most"),
        ({"guidance": 2.0}, "`guidance` must be None for a model that is not asked for classes"),
        ({"classes": True, "guidance": 1}, "`guidance` must be None for a model that is not"),
    ],
)
def test_what_samples_cannot_be(model: HUD, options: Any, match: str) -> None:
    for door in (model.sample, model.sample_abundances, model.sample_batches):
        with pytest.raises(ValueError, match=rf"^HUD\.sample: {match}"):
            list(door(1, size=12, **options))


def test_guidance_is_a_network_s(models: dict[str, HUD]) -> None:
    with pytest.raises(ValueError, match="`guidance` must be None for a model that has no network"):
        models["instant"].sample(1, classes={"corn": 0.3}, guidance=2)
    for value in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match=r"`guidance` must lie in \[0, 100\]"):
            models["network"].sample(1, classes={"corn": 0.3}, guidance=value)
    with pytest.raises(TypeError, match="`guidance` must be a number, got 'much'"):
        models["network"].sample(1, classes={"corn": 0.3}, guidance="much")
    with pytest.raises(TypeError, match="`residuals` must be"):
        models["network"].sample(1, residuals="yes")


@pytest.mark.parametrize("way", ["instant", "network"])
def test_a_model_without_classes(way: str) -> None:
    plain = fit(WAYS[way], labels=None)
    for classes in (True, {"corn": 0.3}):
        with pytest.raises(ValueError, match="`classes` must be None for a model without classes"):
            plain.sample(1, classes=classes)
    with pytest.raises(ValueError, match="`residuals` must be False for a model that keeps none"):
        plain.sample(1, residuals=True)


def test_errors_of_fit() -> None:
    with pytest.raises(ValueError, match="`label_names` must be None without `labels`"):
        fit(INSTANT, labels=None, label_names=NAMES)
    with pytest.raises(ValueError, match=r"^HUD\.fit: `labels` must have the scene's shape"):
        fit(INSTANT, labels=LABELS[1:])
    with pytest.raises(ValueError, match=r"^HUD\.fit: `labels` must mark pixels of two classes"):
        fit(INSTANT, labels=LABELS == 1)
    with pytest.raises(TypeError, match=r"^HUD\.fit: `label_names` must be a sequence of texts"):
        fit(INSTANT, label_names="corn")


# --- gaps


def strip() -> tuple[Scene, Array]:
    """A class that is only in a strip between two gaps, 9 pixels wide: no patch fits in without a gap."""
    cube, _ = fields(32, 44)
    random = np.random.default_rng(3)
    cube[:, 17:26] = random.uniform(0.2, 1, 10) + random.normal(0, 0.005, (32, 9, 10))
    mask = np.ones((32, 44), bool)
    mask[:, 14:17] = mask[:, 26:29] = False
    where = np.ones((32, 44), int)
    where[:, 29:] = 2
    where[:, 17:26] = 3
    where[~mask] = 0
    return Scene(cube, mask=mask), where


def test_a_class_in_a_narrow_strip() -> None:
    scene, where = strip()
    labels = np.zeros_like(where)
    labels[5::9, 3::10] = where[5::9, 3::10]
    labels[5::9, 21] = 3
    labelled = fit(INSTANT, scene, labels)
    plain = fit(INSTANT, scene, None)
    rows = {labelled.abundances[i, j].tobytes() for i, j in np.argwhere(where == 3)}

    def of_strip(model: HUD) -> float:
        maps = model.sample_abundances(8, seed=0).reshape(-1, model.D)
        return float(np.mean([one.tobytes() in rows for one in maps]))

    assert labelled.patches is not None
    assert plain.patches is not None
    assert labelled.patches.with_gaps
    assert not plain.patches.with_gaps
    assert of_strip(labelled) > 0.05
    assert of_strip(plain) == 0
    cubes, maps = labelled.sample(8, classes=True)
    assert np.isfinite(cubes).all()
    assert (maps == 3).mean() > 0.03


# --- `labelled`


def test_labels_can_come_later(models: dict[str, HUD]) -> None:
    later = fit(INSTANT, labels=None).labelled(Scene(CUBE), torch.from_numpy(LABELS), NAMES)
    assert later.classes is not None
    assert later.classes.names == ("grass", "corn", "class 5")
    options: dict[str, Any] = {"residuals": True, "seed": 1}
    for classes in (True, {"corn": 0.5}):
        wanted = models["whole"].sample(2, classes=classes, **options)
        for ours, theirs in zip(later.sample(2, classes=classes, **options), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_errors_of_labelled(models: dict[str, HUD]) -> None:
    plain = fit(INSTANT, labels=None)
    with pytest.raises(ValueError, match=r"^HUD\.labelled: the model must have no network"):
        models["network"].labelled(CUBE, LABELS)
    with pytest.raises(ValueError, match=r"`scene` must have the 26 x 40 pixels .* got 25 x 40"):
        plain.labelled(CUBE[1:], LABELS[1:])
    with pytest.raises(
        ValueError, match=r"^HUD\.labelled: `scene` must have the 10 good bands .* got 9"
    ):
        plain.labelled(CUBE[..., 1:], LABELS)
    masked = Scene(CUBE, mask=GAPS)
    with pytest.raises(ValueError, match=r"^HUD\.labelled: `scene` must be valid in every pixel"):
        plain.labelled(masked, LABELS)
    with pytest.raises(ValueError, match=r"^HUD\.labelled: `labels` must have the scene's shape"):
        plain.labelled(CUBE, LABELS[1:])
    with pytest.raises(TypeError, match=r"^HUD\.labelled: `labels` must be .* got None"):
        plain.labelled(CUBE, None)
    with pytest.raises(TypeError, match=r"^HUD\.labelled: `label_names` must be a sequence"):
        plain.labelled(CUBE, LABELS, "corn")
    with pytest.raises(TypeError, match=r"^HUD\.labelled: `scene`"):
        plain.labelled(None, LABELS)


# --- folders


def test_saved_and_loaded(model: HUD, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = HUD.load(tmp_path / "m", device="cpu")
    assert again.classes is not None
    assert model.classes is not None
    assert (again.classes.numbers, again.classes.names) == (
        model.classes.numbers,
        model.classes.names,
    )
    np.testing.assert_array_equal(again.classes.labels, model.classes.labels)
    assert again.summary() == model.summary()
    for classes in (True, {"corn": 0.5}):
        options: dict[str, Any] = {"classes": classes, "residuals": True, "size": 12, "seed": 3}
        for ours, theirs in zip(
            again.sample(3, **options), model.sample(3, **options), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    again.save(tmp_path / "n")
    for name in ("config.json", "statistics.safetensors"):
        assert (tmp_path / "n" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


@pytest.fixture(scope="module")
def saved(models: dict[str, HUD], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("instant", "guided"):
        models[name].save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[("classes", value) for value in (None, [], "x", 3)],
        ("classes.numbers", ...),
        ("classes.numbers", [1, 2]),
        ("classes.numbers", [1, 2, 5, 6]),
        ("classes.numbers", [0, 2, 5]),
        ("classes.numbers", [2, 1, 5]),
        ("classes.numbers", [1, 1, 5]),
        ("classes.numbers", [1, 2, 6]),  # not of `labels`
        ("classes.numbers", [1, 2, 65536]),
        ("classes.numbers", [1, 2, 5.0]),
        ("classes.numbers", [True, 2, 5]),
        ("classes.names", ...),
        ("classes.names", ["grass", "corn"]),
        ("classes.names", ["grass", "corn", 5]),
        ("classes.names", "abc"),
        ("classes.names", []),
        ("classes.names", ["x"] * 65),
        *[("classes.softening", value) for value in (..., 1, 1.5, 0, -0.1, float("nan"), "x")],
        *[("patches_with_gaps", value) for value in (0, 1, "yes", None)],
        ("patches_with_gaps", False),  # other windows than the weights are of
        ("patches_with_gaps", ...),
        ("classes", ...),  # the network has channels for them
    ],
)
def test_forged_configs_are_refused(saved: Path, tmp_path: Path, place: str, value: Any) -> None:
    shutil.copytree(saved / "guided", tmp_path / "m")
    forge(tmp_path / "m", put(place, value))
    with pytest.raises(DamagedFileError, match=r"^HUD\.load: .*m is damaged \(.+\)"):
        HUD.load(tmp_path / "m")


def changed(change: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
    """A change of a copy."""

    def made(value: torch.Tensor) -> Any:
        copy = value.clone()
        change(copy)
        return copy

    return made


def some(value: torch.Tensor) -> torch.Tensor:
    """The channels of a pixel that is known."""
    return value[10, 10]


@pytest.mark.parametrize("kind", ["instant", "guided"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", lambda _: None),
        ("labels", lambda value: value.long()),
        ("labels", lambda value: value[1:]),
        ("labels", lambda value: value * 0 + 3),
        ("labels", lambda value: -value),
        ("class_shares", lambda _: None),
        ("class_shares", lambda value: value.double()),
        ("class_shares", lambda value: value[1:]),
        ("class_shares", lambda value: value[..., 1:]),
        ("class_shares", lambda value: value * torch.nan),
        ("class_shares", changed(lambda value: some(value).fill_(torch.nan))),
        ("class_shares", changed(lambda value: some(value)[:1].fill_(torch.nan))),
        ("class_shares", changed(lambda value: some(value).fill_(torch.inf))),
        ("class_shares", changed(lambda value: some(value).copy_(torch.tensor([1.5, -0.5, 0])))),
        ("class_shares", changed(lambda value: some(value).fill_(1.0))),
        ("class_shares", changed(lambda value: some(value).fill_(0.0))),
        ("residuals", lambda value: value[1:]),
        ("residuals", lambda value: value[..., 1:]),
        ("residuals", lambda value: value.double()),
        ("residuals", lambda value: value * torch.nan),
        ("residuals", changed(lambda value: some(value).fill_(torch.inf))),
        ("residuals", changed(lambda value: some(value).fill_(torch.nan))),
        ("residuals", changed(lambda value: some(value)[:1].fill_(torch.nan))),
    ],
)
def test_forged_tensors_are_refused(
    saved: Path, tmp_path: Path, kind: str, name: str, change: Callable[[torch.Tensor], Any]
) -> None:
    shutil.copytree(saved / kind, tmp_path / "m")
    path = tmp_path / "m" / "statistics.safetensors"
    tensors, record = read_tensors(path)
    new = change(tensors.pop(name))
    write_tensors(path, tensors if new is None else {**tensors, name: new.contiguous()}, record)
    with pytest.raises(DamagedFileError, match=r"^HUD\.load: .*m is damaged \(.+\)"):
        HUD.load(tmp_path / "m")


@pytest.mark.parametrize("name", ["class_mean", "class_std"])
def test_forged_statistics_of_the_classes(saved: Path, tmp_path: Path, name: str) -> None:
    changes: list[Callable[[torch.Tensor], Any]] = [
        lambda _: None,
        lambda v: v[1:],
        lambda v: v * torch.nan,
    ]
    changes += [lambda v: -v] if name == "class_std" else [lambda v: v + 1e7]
    for k, change in enumerate(changes):
        shutil.copytree(saved / "guided", tmp_path / f"{k}m")
        path = tmp_path / f"{k}m" / "statistics.safetensors"
        tensors, record = read_tensors(path)
        new = change(tensors.pop(name))
        write_tensors(path, tensors if new is None else {**tensors, name: new.contiguous()}, record)
        with pytest.raises(DamagedFileError, match=r"^HUD\.load: .*m is damaged \(.+\)"):
            HUD.load(tmp_path / f"{k}m")


def test_a_folder_without_residuals(saved: Path, tmp_path: Path) -> None:
    """As of a model from before there were any."""
    shutil.copytree(saved / "instant", tmp_path / "m")
    path = tmp_path / "m" / "statistics.safetensors"
    tensors, record = read_tensors(path)
    del tensors["residuals"]
    write_tensors(path, tensors, record)
    model = HUD.load(tmp_path / "m")
    assert model.residuals is None
    assert len(model.sample(1, classes=True)) == 2
    with pytest.raises(ValueError, match="`residuals` must be False"):
        model.sample(1, residuals=True)


def test_a_model_labelled_later_is_saved_too(tmp_path: Path) -> None:
    scene = Scene(CUBE, mask=GAPS)
    later = fit(INSTANT, scene, None).labelled(scene, LABELS)
    later.save(tmp_path / "m")
    again = HUD.load(tmp_path / "m")
    options: dict[str, Any] = {"classes": {2: 0.5}, "residuals": True}
    for ours, theirs in zip(again.sample(1, **options), later.sample(1, **options), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_latent_has_the_classes(models: dict[str, HUD], saved: Path) -> None:
    for name in ("instant", "guided"):
        for model in (models[name], HUD.load(saved / name)):
            assert isinstance(model.latent, JointLatent)
            assert model.summary()["classes"] == {"grass": 4, "corn": 4, "class 5": 4}
