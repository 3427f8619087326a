"""HUD: the trained model of one scene. Fit it, sample it, save it, load it.

scene -> endmembers A, abundances X -> z -> diffusion -> new z -> new X -> generated = X A

and, where the preset lays patches: new X -> layouts of the scene's own patches that look like it -> new X.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import check_flag, check_path
from hud_fast._torch_state import in_plain_torch
from hud_fast.diffusion import processes
from hud_fast.diffusion.checks import available_device
from hud_fast.diffusion.choices import Sampling, SamplingOptions, Training, TrainingOptions, takes
from hud_fast.diffusion.generation import abundance_batches
from hud_fast.diffusion.host import on_host
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import Denoiser, place
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.presets import Preset
from hud_fast.scenes import Scene

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What a generated cube shares with the scene that the model learned."""

    name: str
    wavelengths: NDArray[np.float64] | None  # (C,) nm
    scale: float  # file value = cube value * scale
    rgb_bands: tuple[int, int, int]  # 0-based, red green blue
    simulated: bool
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    reflectance_factor: float | None = None  # file value = reflectance * factor

    @classmethod
    def of(cls, scene: Scene) -> SceneFacts:
        factor = scene.details.get("reflectance scale factor")
        return cls(
            scene.name,
            scene.wavelengths,
            scene.scale,
            scene.display_bands,
            scene.simulated,
            scene.fwhm,
            None if factor is None else float(factor),
        )

    @property
    def details(self) -> dict[str, str]:
        """What a scene of generated cubes keeps of the file's ways."""
        factor = self.reflectance_factor
        return {} if factor is None else {"reflectance scale factor": repr(factor)}


@dataclass(frozen=True, eq=False)
class HUD:
    """A hyperspectral unmixing diffusion model of one scene (arXiv 2506.02601).

    Made by `HUD.fit` or `HUD.load`.

    Attributes
    ----------
    endmembers : (D, C) float32
        Spectra that every generated pixel is mixed from, in the unit of the scene's cube.
    abundances : (H, W, D) float32
        Of the training scene; NaN at masked pixels.
    history : list of dict
        ``step``, ``loss`` (mean since the entry before) and ``seconds`` of the training.
    preset, seed, encoder, latent, scene, unmixing, network
        Settings, latent space, facts about the scene, figures of its unmixing, the averaged
        network.

    Examples
    --------
    Two steps on a simulated scene, to see the shapes; real trainings take thousands.

    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=30, D=3, seed=0)
    >>> model = HUD.fit(scene, preset="tiny", steps=2, device="cpu")
    >>> cubes = model.sample(2, seed=0, size=16, steps=2)
    >>> cubes.shape, cubes.dtype.name
    ((2, 16, 16, 30), 'float32')
    """

    network: Denoiser | None  # None: laid of patches
    latent: LatentSpace
    endmembers: Array  # (D, C)
    abundances: Array  # (H, W, D)
    preset: Preset
    seed: int
    encoder: str
    scene: SceneFacts
    unmixing: dict[str, float | int]
    history: list[dict[str, float]]
    patches: Patches | None = None  # of the scene, where the preset lays them

    @property
    def D(self) -> int:
        """Number of endmembers."""
        return len(self.endmembers)

    @property
    def C(self) -> int:
        """Number of bands of a generated cube: the good bands of the scene."""
        return int(self.endmembers.shape[1])

    @property
    def wavelengths(self) -> NDArray[np.float64] | None:  # (C,)
        """Band centres in nm, where the scene had them."""
        return self.scene.wavelengths

    @property
    def device(self) -> torch.device:
        """Where cubes are made."""
        return self.latent.mean.device

    @cached_property
    def _spectra(self) -> Tensor:  # (D, C)
        return torch.from_numpy(self.endmembers).to(self.device)

    @classmethod
    @takes(Training.of)
    @in_plain_torch
    def fit(
        cls,
        scene: Scene | NDArray[Any] | Tensor,  # Scene or (H, W, C)
        *,
        endmembers: int | NDArray[Any] | Tensor | None = None,  # D or (D, C)
        **options: Unpack[TrainingOptions],
    ) -> HUD:
        """Unmix a scene and train a diffusion model of its abundance maps.

        Several processes (`diffusion.processes`) share every batch, and all of them get the model.

        Parameters
        ----------
        scene : Scene or (H, W, C) array or tensor
            Bad bands are dropped first; masked and non-finite pixels are never learned from.
        endmembers : None, int or (D, C) array or tensor, optional
            None: as many as the scene is known to have, else HySime's count clamped to 3 to 16. An
            int: that many, found by VCA. An array: these spectra, in the unit of the cube. With `start`, None is
            as many as that has, and endmembers are put in its order of mean abundances.
        preset : str or Preset
            "instant", "tiny", "small", "paper", or settings of your own.
        seed : int
            Of VCA, the first weights and every training step.
        encoder : {"fcls", "linear"}
            Abundances by exact fully constrained (eq. 2) or plain least squares (eq. 3).
        raw_latent : bool
            Learn z as it is (the paper's letter) instead of standardised channels.
        precision : {"float32", "bfloat16"}, optional
            Of the network's convolutions and products, in training and sampling, in place of the preset's.
        device : str or torch.device, optional
            Default: the GPU where there is one.
        checkpoint_dir : path, optional
            Folder for the training's states; a training that is killed goes on from the newest.
        resume : bool
            Whether to go on from `checkpoint_dir`; False removes the checkpoints there.
        steps : int, optional
            Training steps, in place of the preset's.
        start : AbundanceModel, HUD, folder or "shipped", optional
            Begin from these weights in place of random ones, the average too. The model must have as many
            endmembers and the same network; its scene and sensor may be any.
        progress : callable, optional
            Called as ``progress(done, total)`` with training steps.

        Returns
        -------
        HUD

        Raises
        ------
        TypeError
            An argument of the wrong type.
        ValueError
            An unknown precision; no valid pixel; a scene smaller than the training window or without a window free of
            masked pixels; `endmembers` out of range; an unknown preset or encoder; a `start` with another
            network or number of endmembers; a checkpoint of another training.
        RuntimeError
            A device that is not there; a loss that is not finite.
        """
        from hud_fast.diffusion.fitting import fit

        given = scene_from(scene, "HUD.fit", "scene")
        training = Training.of("HUD.fit", 1, **options)
        _, (model,) = fit([given.drop_bad_bands()], [endmembers], training)
        return model

    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: Literal[False] = ...,
        as_tensors: Literal[False] = ...,
        **options: Unpack[SamplingOptions],
    ) -> Array: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: Literal[True],
        as_tensors: Literal[False] = ...,
        **options: Unpack[SamplingOptions],
    ) -> tuple[Array, Array]: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: bool = ...,
        as_tensors: Literal[True],
        **options: Unpack[SamplingOptions],
    ) -> Any: ...
    @takes(Sampling.of)
    @in_plain_torch
    def sample(
        self,
        n: int,
        *,
        return_abundances: bool = False,
        as_tensors: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Any:  # (n, h, w, C), (n, h, w, D)
        """Generate cubes.

        A model with `patches` takes each pixel's abundances from the scene (see `diffusion.patches`): laid after what
        the network generates, or, without a network, alone. `sampler`, `steps` and `tile` are the network's.

        Sample i depends on the model, `seed` and i only (and on `size`, `sampler`, `steps`): on a CPU to the bit,
        whatever the number of threads, on a GPU to rounding for another `batch_size`. Samples
        `first` to ``first + n - 1`` are made, so a large set can be made in parts. Several processes
        (`diffusion.processes`) make batches in turn: the first one gets them all, the others get arrays of no samples.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Of the noise.
        size : int or (rows, columns), optional
            In pixels, at least 8; default the training window's.
        sampler : {"ddpm", "ddim", "dpm++"}, optional
            Ancestral (eq. 14), DDIM or DPM-Solver++(2M); default the preset's.
        steps : int, optional
            Sampler steps, at most T; default the preset's, or T for "ddpm" and 50 for the others where
            the preset has another sampler.
        batch_size : int, optional
            Samples held at a time; default 16 on a CPU (4 a core where that is more), 64 on a GPU.
        tile : int, optional
            Samples with a larger side than this are denoised in overlapping windows of this side, blended at
            every step, so that any size fits; at least the training window's side, by default twice that.
        first : int
            Number of the first sample.
        return_abundances : bool
            Also return the abundance maps.
        as_tensors : bool
            Return tensors on the model's device in place of arrays: nothing comes to the host.
        progress : callable, optional
            Called as ``progress(done, total)`` with sample-steps.

        Returns
        -------
        cubes : (n, h, w, C) float32
            In the unit of the scene's cube.
        abundances : (n, h, w, D) float32
            Only with ``return_abundances=True``.

        Raises
        ------
        TypeError, ValueError
            An argument of the wrong type or out of its range.
        """
        for name, flag in (
            ("return_abundances", return_abundances),
            ("as_tensors", as_tensors),
        ):
            check_flag("HUD.sample", name, flag)
        sampling = Sampling.of(self, n, **options)
        depths = (self.C, self.D) if return_abundances else (self.C,)
        found = self._gathered(self._mixed(sampling), sampling, depths, as_tensors)
        return found if return_abundances else found[0]

    @takes(Sampling.of)
    @in_plain_torch
    def sample_abundances(
        self,
        n: int,
        *,
        as_tensors: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Any:  # (n, h, w, D)
        """Generate abundance maps; the arguments are those of `sample`.

        Returns
        -------
        (n, h, w, D) float32
            Not negative, and summing to one to 1e-6 in every pixel; of patches, abundances of the scene's own pixels.
        """
        sampling = Sampling.of(self, n, **options)
        maps = ((maps,) for maps in abundance_batches(self, sampling))
        return self._gathered(maps, sampling, (self.D,), as_tensors)[0]

    @in_plain_torch
    def sample_batches(
        self,
        n: int,
        *,
        as_tensors: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Generator[tuple[Any, Any]]:  # each (b, h, w, C), (b, h, w, D)
        """Generate cubes and abundance maps batch by batch, so that any number of them fits in memory.

        The arguments are those of `sample`; put together, the batches are what `sample` returns. From a GPU a batch
        comes to the host while the next one is being made.

        Yields
        ------
        cubes, abundances : (b, h, w, C) and (b, h, w, D) float32, b <= batch_size
        """
        mixed = self._mixed(Sampling.of(self, n, **options))
        found: Iterator[Any] = mixed if as_tensors else on_host(mixed)
        yield from found

    def _mixed(self, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
        """Cubes and abundance maps, each (b, h, w, C) and (b, h, w, D)."""
        for maps in abundance_batches(self, sampling):
            yield maps.to(self.device) @ self._spectra, maps

    def _gathered(
        self,
        batches: Iterator[tuple[Tensor, ...]],
        sampling: Sampling,
        depths: tuple[int, ...],
        as_tensors: bool,
    ) -> tuple[Any, ...]:  # each (n, h, w, depth)
        """All batches in one array or tensor; of no samples in another process than the first."""
        count = len(sampling.samples) if processes.is_first() else 0
        shapes = [(count, *sampling.size, depth) for depth in depths]
        found: list[Any] = [
            torch.empty(shape, device=self.device) if as_tensors else np.empty(shape, np.float32)
            for shape in shapes
        ]
        done = 0
        arrived: Iterator[Any] = batches if as_tensors else on_host(batches)
        for batch in arrived:
            for into, part in zip(found, batch, strict=False):
                into[done : done + len(part)] = part
            done += len(batch[0])
        return tuple(found)

    def __repr__(self) -> str:
        if self.network is None:
            made = "laid of patches"
        else:
            made = f"{self.preset.steps} steps" if self.preset.steps != 1 else "1 step"
        return f"HUD({self.scene.name!r}, D={self.D}, C={self.C}, {self.preset.name}, {made})"

    def summary(self) -> dict[str, Any]:
        """The model in plain, JSON-able numbers and words."""
        return {
            "scene": self.scene.name,
            "simulated": self.scene.simulated,
            "endmembers": self.D,
            "bands": self.C,
            "encoder": self.encoder,
            "raw_latent": self.latent.raw,
            "seed": self.seed,
            "parameters": 0 if self.network is None else self.network.parameter_count,
            "training_steps": self.preset.steps,
            "training_seconds": self.history[-1]["seconds"] if self.history else None,
            "final_loss": self.history[-1]["loss"] if self.history else None,
            "preset": self.preset.to_dict(),
            "unmixing": dict(self.unmixing),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder, all or nothing; an older model there is replaced.

        The folder gets ``config.json``, ``network.safetensors`` and ``statistics.safetensors``.

        Raises
        ------
        FileExistsError
            If the folder holds anything else.
        """
        from hud_fast.diffusion.storage import save_model

        check_path("HUD.save", "folder", folder)
        save_model(self, Path(folder))

    @classmethod
    @in_plain_torch
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
    ) -> HUD:
        """Read a model that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or it is not a model.
        OSError
            If a file is damaged.
        ValueError
            If the model was written by a newer version of the package.
        """
        from hud_fast.diffusion.storage import load_model

        check_path("HUD.load", "folder", folder)
        return load_model(Path(folder), available_device("HUD.load", device))

    def to(self, device: str | torch.device) -> HUD:
        """The model on another device; a network is moved, not copied.

        Raises
        ------
        RuntimeError
            A device that is not there.
        """
        where = available_device("HUD.to", device)
        if self.network is not None:
            place(self.network, where)
        patches = None if self.patches is None else self.patches.to(where)
        return replace(self, latent=self.latent.to(where), patches=patches)


def scene_from(scene: Scene | NDArray[Any] | Tensor, function: str, argument: str) -> Scene:
    """What a user gives as a scene; a tensor stays known where it lies."""
    if isinstance(scene, Scene):
        return scene
    if not (isinstance(scene, (Tensor, list, tuple)) or hasattr(scene, "__array__")):
        word: Any = scene
        reads = isinstance(word, (str, os.PathLike))
        raise TypeError(
            f"{function}: `{argument}` must be a Scene or an (H, W, C) array, got {type(word).__name__}"
            + (": hud_fast.load_scene reads files" if reads else "")
        )
    return Scene(scene)  # type: ignore[arg-type]
