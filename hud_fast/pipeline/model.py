"""From a scene to a trained model, and from a model to cubes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.device import chosen_device
from hud_fast.pipeline.endmembers import Endmembers, choose
from hud_fast.pipeline.memory import few_at_once
from hud_fast.pipeline.options import FINE_TUNE_STEPS, ModelOptions, SampleOptions
from hud_fast.pipeline.progress import Reporter

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.diffusion.classes import ClassMaps
    from hud_fast.scenes import Scene


def find_endmembers(
    scene: Scene,
    options: ModelOptions,
    reporter: Reporter,
) -> NDArray[np.float32]:  # (D, C)
    """`named_endmembers`, the spectra alone."""
    return named_endmembers(scene, options, reporter).spectra


@by_first
def named_endmembers(scene: Scene, options: ModelOptions, reporter: Reporter) -> Endmembers:
    """Find the scene's endmembers, or take the user's; with ``fine_tune``, adapt them by the unmixing autoencoder.

    The same scene and options give the same endmembers, so a resumed run finds those it began with. A model to start
    from says how many they are, where the options leave that open.
    """
    from hud_fast.unmixing import UnmixingAutoencoder

    device = chosen_device("HUD.fit", options.device, reporter)
    count, start = options.endmembers, options.load_start()
    if count is None and start is not None:
        count = start.count
    with reporter.stage("Finding the endmembers"):
        found = choose(scene, options, count, device)
    if not options.fine_tune:
        return found
    with reporter.stage("Fine-tuning the endmembers") as progress:
        autoencoder = UnmixingAutoencoder(found.spectra, encoder=_encoder(options)).to(device)
        cube, valid = scene.on(device)
        pixels = cube[valid]
        autoencoder.fine_tune(pixels, steps=FINE_TUNE_STEPS, seed=options.seed, progress=progress)
    tuned: NDArray[np.float32] = autoencoder.endmembers.detach().cpu().numpy()
    return replace(found, spectra=tuned)


def train(
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    options: ModelOptions,
    checkpoints: Path,
    reporter: Reporter,
) -> HUD:
    """Train the diffusion model, going on from the newest of `checkpoints`; with the scene's labels, if it has some."""
    from hud_fast.diffusion import HUD

    preset = options.resolve()
    stage = f"Training the diffusion model ({preset.steps:,} steps)"
    with reporter.stage(stage if preset.trains else "Weighing the scene's patches") as progress:
        model = HUD.fit(
            scene,
            endmembers=endmembers,
            checkpoint_dir=checkpoints,
            progress=progress,
            **labels_of(scene),
            **choices(options),
        )
    if preset.trains:
        reporter.say(f"  {speed(model.history)}")
    return model


def speed(history: list[dict[str, float]]) -> str:
    """What a training step took, and how much of it went into loading its windows.

    Examples
    --------
    >>> speed([{"step": 10, "loss": 0.5, "seconds": 1.0, "loading": 0.001}])
    '100 ms a step, 1.0 % of it for loading the windows'
    >>> speed([])
    'no step was timed'
    """
    if not history:
        return "no step was timed"
    last = history[-1]
    step = last["seconds"] / last["step"]
    text = f"{1e3 * step:.0f} ms a step"
    if "loading" in last:
        text += f", {100 * last['loading'] / step:.1f} % of it for loading the windows"
    return text


def labels_of(scene: Scene) -> dict[str, Any]:
    """The arguments of ``HUD.fit`` for a scene with labels."""
    if scene.labels is None:
        return {}
    return {"labels": scene.labels, "label_names": scene.label_names}


def classes_of(scene: Scene) -> ClassMaps | None:
    """The classes that a model of the scene will have, without where they are; None without labels."""
    if scene.labels is None:
        return None
    import torch

    from hud_fast.diffusion.classes import ClassMaps

    known = scene.labels * scene.valid
    numbers = tuple(int(number) for number in np.unique(known[known > 0]))
    names = dict(enumerate(scene.label_names or (), 1))
    called = tuple(names.get(number, f"class {number}") for number in numbers)
    return ClassMaps(numbers, called, known.astype(np.int32), torch.empty(0))


def choices(options: ModelOptions) -> dict[str, Any]:
    """The arguments of ``HUD.fit`` and ``fit_scenes`` that the options decide."""
    return {
        "preset": options.resolve(),
        "seed": options.seed,
        "encoder": _encoder(options),
        "raw_latent": options.raw_latent,
        "device": options.device,
        "start": options.load_start(),
    }


def generate(
    model: HUD,
    options: SampleOptions,
    seed: int,
    reporter: Reporter,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[Any] | None]:
    """Generate cubes (B, h, w, C), the abundances (B, h, w, D) that they are mixed from, and the class maps (B, h, w).

    There are maps where the model has classes.
    """
    wanted = options.wanted(model.classes)
    with reporter.stage(f"Generating {options.samples} cubes") as progress:
        made: Any = model.sample(
            options.samples,
            seed=seed,
            batch_size=few_at_once(model, options.samples, options.window(model.preset)),
            return_abundances=True,
            progress=progress,
            **options.arguments(wanted),
        )
    cubes, abundances, *maps = made
    return cubes, abundances, maps[0] if maps else None


def load_model(folder: Path, device: str | None) -> HUD:
    """Read a saved model, or the one of a run; in several processes the first reads, and all get it."""
    where = chosen_device("HUD.load", device)
    return _read(folder).to(where)


@by_first
def _read(folder: Path) -> HUD:
    from hud_fast.diffusion import HUD

    source = folder / "model"
    return HUD.load(source if source.is_dir() else folder, device="cpu")


def scene_of(model: HUD) -> Scene:
    """Return what is known of generated cubes without the scene's file: a scene of one pixel."""
    from hud_fast.scenes import Scene

    facts = model.scene
    return Scene(
        model.endmembers[:1, None],
        name=facts.name,
        wavelengths=facts.wavelengths,
        fwhm=facts.fwhm,
        details=facts.details,
        rgb_bands=facts.rgb_bands,
        scale=facts.scale,
        simulated=facts.simulated,
    )


def _encoder(options: ModelOptions) -> Any:
    return options.encoder  # checked by its users, who list what there is
