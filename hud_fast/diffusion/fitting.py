"""Fitting: one training of the abundance maps of one or several scenes, and a model of each.

scenes -> endmembers, abundances -> z -> windows of all -> one network -> one HUD a scene

Scenes meet in abundance space, where there are no bands: they may be of different sensors, sizes and masks, with the
same number of endmembers. Each keeps its own statistics of z and its own guess of the noise (`prior`); the network's
weights are one. What channel k means must agree: the endmembers of every scene are put in the order of falling mean
abundance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._torch_state import in_plain_torch
from hud_fast.diffusion import processes
from hud_fast.diffusion.abundance_model import AbundanceModel, trained_weights
from hud_fast.diffusion.choices import Training, TrainingOptions, takes
from hud_fast.diffusion.classes import ClassMaps
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.model import HUD
from hud_fast.diffusion.network import Denoiser, build_network, place
from hud_fast.diffusion.patch_weights import balanced
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.preparation import PreparedScene, choose_endmembers, ranks_of
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.residuals import Residuals
from hud_fast.diffusion.scene_facts import SceneFacts, scene_from
from hud_fast.diffusion.training import Trainer, train
from hud_fast.scenes import Scene

Endmembers = int | NDArray[Any] | Tensor | None


def trainer_of(
    prepared: Sequence[PreparedScene],
    preset: Preset,
    *,
    seed: int,
    encoder: str,
    start: AbundanceModel | None = None,
) -> Trainer:
    """A training of these scenes, on their device, that has not begun: from fresh weights, or from those of `start`."""
    crops = CropSampler(
        [scene.z for scene in prepared],
        [scene.valid for scene in prepared],
        crop=preset.crop,
        augment=preset.augment,
        filled=[scene.filled for scene in prepared],
        step=preset.factor,
    )
    priors = [scene.prior for scene in prepared]
    D, classes = len(prepared[0].endmembers), prepared[0].class_channels
    K = 0 if classes is None else classes.K
    prior = priors if len(priors) > 1 else priors[0]
    network = build_network(preset, D, K=K, seed=seed, prior=prior)
    facts = [scene.facts(encoder) for scene in prepared]
    # of several scenes each fact is a list, one entry a scene
    data = {k: [one[k] for one in facts] for k in facts[0]} if len(facts) > 1 else facts[0]
    if start is not None:
        start.load_into(network)
        data = {**data, "start": start.digest}
    return Trainer(network, crops, preset, seed=seed, data=data, classes=classes)


def fit(
    scenes: Sequence[Scene],
    endmembers: Sequence[Endmembers],
    training: Training,
    classes: ClassMaps | None = None,
) -> tuple[AbundanceModel | None, list[HUD]]:
    """`HUD.fit` for one scene, which may have classes, `fit_scenes` for several: prepared, trained, taken apart."""
    preset, start = training.preset, training.start
    prepared = _prepare(scenes, endmembers, training, classes)
    # before the training: a scene that has no patches must not cost one
    patches = [_patches_of(one, training) for one in prepared]
    if not preset.trains:  # nothing but the weights of the patches is learned
        return None, [_model_of(prepared[0], training, patches[0])]
    trainer = trainer_of(
        prepared, preset, seed=training.seed, encoder=training.encoder, start=start
    )
    train(trainer, folder=training.folder, resume=training.resume, progress=training.progress)

    network = trainer.network
    network.load_state_dict(network.state_dict() | trainer.averaged_weights())
    network.eval().requires_grad_(False)
    models = []
    for one, own in zip(prepared, patches, strict=True):
        its = network if len(prepared) == 1 else _with_prior(network, preset, one)
        models.append(_model_of(one, training, own, its, trainer.history))
    if classes is not None:
        return None, models  # no other scene has its classes
    before = () if start is None else start.scenes
    common = AbundanceModel(
        weights=trained_weights(network),
        preset=preset,
        D=models[0].D,
        ranks=ranks_of(models[0].abundances),
        raw_latent=training.raw_latent,
        scenes=tuple(dict.fromkeys([*before, *(scene.name for scene in scenes)])),
        steps=preset.steps + (0 if start is None else start.steps),
        seed=training.seed,
    )
    return common, models


def _model_of(
    prepared: PreparedScene,
    training: Training,
    patches: Patches | None,
    network: Denoiser | None = None,
    history: Sequence[dict[str, float]] = (),
) -> HUD:
    return HUD(
        network=network,
        latent=prepared.latent,
        endmembers=prepared.endmembers,
        abundances=prepared.abundances.cpu().numpy(),
        preset=training.preset,
        seed=training.seed,
        encoder=training.encoder,
        scene=SceneFacts.of(prepared.scene),
        unmixing=prepared.unmixing(),
        history=list(history),
        patches=patches,
        classes=prepared.classes,
        residuals=_residuals_of(prepared),
    )


def _residuals_of(prepared: PreparedScene) -> Residuals | None:
    """Kept with classes: for cubes that classifiers learn from."""
    if prepared.classes is None:
        return None
    abundances = prepared.abundances.cpu().numpy()
    shares = prepared.classes.shares.cpu().numpy()
    return Residuals.of(prepared.scene.cube, abundances, prepared.endmembers, shares)


def _patches_of(prepared: PreparedScene, training: Training) -> Patches | None:
    """The patches of a scene, weighed; None where the preset lays none."""
    preset = training.preset
    if preset.patches == "no":
        return None

    def weighed() -> Patches:
        patches = Patches.of(
            prepared.abundances,
            prepared.endmembers,
            seed=training.seed,
            with_gaps=prepared.classes is not None,
        )
        if prepared.classes is not None:
            patches = patches.with_classes(prepared.classes.shares)
        # beside a training it is not worth telling of
        progress = None if preset.trains else training.progress
        patches = balanced(patches, preset.crop, progress=progress)
        return patches if processes.count() == 1 else patches.to(torch.device("cpu"))

    return processes.on_first(weighed).to(prepared.z.device)


def labelled(
    model: HUD,
    scene: Scene | NDArray[Any] | Tensor,  # Scene or (H, W, C)
    labels: NDArray[Any] | Tensor,  # (H, W)
    label_names: Sequence[str] | None,
) -> HUD:
    """`HUD.labelled`."""
    if model.network is not None or model.patches is None:
        raise ValueError(
            "HUD.labelled: the model must have no network: what it learned without labels knows no classes; "
            "use HUD.fit(..., labels=...)"
        )
    given = scene_from(scene, "HUD.labelled", "scene").drop_bad_bands()
    if given.shape[:2] != model.abundances.shape[:2]:
        raise ValueError(
            f"HUD.labelled: `scene` must have the {model.abundances.shape[0]} x {model.abundances.shape[1]} pixels "
            f"that the model was fit on, got {given.H} x {given.W}"
        )
    if given.shape[2] != model.C:
        raise ValueError(
            f"HUD.labelled: `scene` must have the {model.C} good bands of its fit, got {given.shape[2]}"
        )
    if (np.isfinite(model.abundances).all(axis=-1) & ~given.valid).any():
        raise ValueError(
            "HUD.labelled: `scene` must be valid in every pixel that the model was fit on, got a larger mask"
        )
    classes = ClassMaps.of(given, labels, label_names, caller="HUD.labelled", device=model.device)
    shares = classes.shares.cpu().numpy()
    residuals = Residuals.of(given.cube, model.abundances, model.endmembers, shares)
    patches = model.patches.with_classes(classes.shares)
    return replace(model, classes=classes, patches=patches, residuals=residuals)


@takes(Training.of)
@in_plain_torch
def fit_scenes(
    scenes: Sequence[Scene | NDArray[Any] | Tensor],  # each Scene or (H, W, C)
    *,
    endmembers: int | Sequence[NDArray[Any]] | None = None,  # D, or (D, C) for each scene
    **options: Unpack[TrainingOptions],
) -> tuple[AbundanceModel, list[HUD]]:
    """Train one diffusion model of the abundance maps of several scenes, of whatever sensors.

    Every step draws its windows from all scenes, each scene equally likely.

    Parameters
    ----------
    scenes : sequence of Scene or (H, W, C) array or tensor
        One or more; with one, `HUD.fit` to the bit.
    endmembers : int, sequence of (D, C) arrays, or None
        An int: that many of each scene, found by VCA. Arrays: their spectra, one array a scene. None: as many as each
        scene is known to have or HySime counts, which must be the same number for all; or `start`'s number.
    preset, seed, encoder, raw_latent, precision, device, checkpoint_dir, resume, steps, start, progress
        As in `HUD.fit`.

    Returns
    -------
    abundance_model : AbundanceModel
        What the scenes have in common, to start other trainings from.
    models : list of HUD
        One a scene, in order, with the same weights: each samples, saves and loads as any other. Where there are
        several, their endmembers are in the order of falling mean abundance.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    ValueError
        As `HUD.fit`, naming the scene; no scene; numbers of endmembers that differ between the scenes.
    RuntimeError
        A device that is not there; a loss that is not finite.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> a, b = simulate_scene(40, 40, C=30, D=3, seed=0), simulate_scene(36, 50, C=48, D=3, seed=1)
    >>> common, (model_a, model_b) = fit_scenes([a, b], preset="tiny", steps=2, device="cpu")
    >>> common.D, model_a.C, model_b.C
    (3, 30, 48)
    >>> model_b.sample(1, size=16, steps=2).shape
    (1, 16, 16, 48)
    """
    several: Any = scenes
    if not isinstance(several, Sequence) or isinstance(several, (str, bytes)):
        raise TypeError(
            f"fit_scenes: `scenes` must be a sequence of scenes, got {type(scenes).__name__}"
        )
    given = [scene_from(one, "fit_scenes", f"scenes[{i}]") for i, one in enumerate(scenes)]
    if not given:
        raise ValueError("fit_scenes: `scenes` must hold one scene or more, got none")
    spectra: list[Endmembers]
    one_array: Any = endmembers
    if isinstance(one_array, np.ndarray) and one_array.ndim:
        raise ValueError(
            "fit_scenes: `endmembers` must be a number, or a sequence of one (D, C) array a scene, "
            f"got one array of shape {one_array.shape}"
        )
    if isinstance(endmembers, Sequence):
        if len(endmembers) != len(given):
            raise ValueError(
                f"fit_scenes: `endmembers` must have one array for each of {len(given)} scenes, "
                f"got {len(endmembers)}"
            )
        spectra = list(endmembers)
    else:
        spectra = [endmembers] * len(given)
    training = Training.of("fit_scenes", len(given), **options)
    if not training.preset.trains:
        raise ValueError(
            "fit_scenes: `preset` must be one that trains a network, got one that lays patches: use HUD.fit"
        )
    common, models = fit([scene.drop_bad_bands() for scene in given], spectra, training)
    assert common is not None
    return common, models


def _prepare(
    scenes: Sequence[Scene],
    endmembers: Sequence[Endmembers],
    training: Training,
    classes: ClassMaps | None = None,
) -> list[PreparedScene]:
    several, start, device = len(scenes) > 1, training.start, training.device
    found = []
    for number, (scene, given) in enumerate(zip(scenes, endmembers, strict=True)):
        find = partial(
            choose_endmembers,
            scene,
            start.count if given is None and start is not None else given,
            seed=training.seed,
            device=device,
            place=f"fit_scenes: `scenes[{number}]` ({scene.name})" if several else "",
        )
        found.append(processes.on_first(find))
    counts = [len(one) for one in found]
    if len(set(counts)) > 1:
        listed = ", ".join(f"{s.name} {n}" for s, n in zip(scenes, counts, strict=True))
        raise ValueError(
            f"fit_scenes: `endmembers` must be the same number for all scenes, got {listed}; "
            "give one number for all"
        )
    ranks: Sequence[int] | None = range(counts[0]) if several else None
    if start is not None:
        start.check(start.preset, raw_latent=start.raw_latent, D=counts[0])
        ranks = start.ranks_for(counts[0])
    return [
        PreparedScene.of(
            scene,
            A,
            encoder=training.encoder,
            raw_latent=training.raw_latent,
            ranks=ranks,
            classes=classes,
            device=device,
        )
        for scene, A in zip(scenes, found, strict=True)
    ]


def _with_prior(network: Denoiser, preset: Preset, scene: PreparedScene) -> Denoiser:
    """The network with one scene's prior; the weights are the same tensors."""
    own = build_network(preset, len(scene.endmembers), prior=scene.prior)
    place(own, next(network.parameters()).device)
    shared = {name: value.detach() for name, value in network.named_parameters()}
    own.load_state_dict(own.state_dict() | shared, assign=True)
    return own.eval().requires_grad_(False)
