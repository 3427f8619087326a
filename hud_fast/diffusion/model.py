"""HUD: the trained model of one scene. Fit it, sample it, save it, load it.

scene -> endmembers A, abundances X -> z -> diffusion -> new z -> new X -> generated = X A

and, where the preset lays patches: new X -> layouts of the scene's own patches that look like it -> new X.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from hud_fast.diffusion.choices import (
    LabelledOptions,
    PlainOptions,
    Sampling,
    SamplingOptions,
    Training,
    TrainingOptions,
    takes,
)
from hud_fast.diffusion.classes import ClassMaps
from hud_fast.diffusion.generation import abundance_batches
from hud_fast.diffusion.host import gathered, on_host
from hud_fast.diffusion.joint import JointLatent
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import Denoiser, place
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.residuals import Residuals
from hud_fast.diffusion.scene_facts import SceneFacts, scene_from
from hud_fast.scenes import Scene

Array = NDArray[np.float32]


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
    classes : ClassMaps or None
        Of a model that was fit with labels: its classes, and where they are in the scene.
    residuals : Residuals or None
        Of such a model: what mixing leaves of the scene's spectra.
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
    latent: LatentSpace | JointLatent
    endmembers: Array  # (D, C)
    abundances: Array  # (H, W, D)
    preset: Preset
    seed: int
    encoder: str
    scene: SceneFacts
    unmixing: dict[str, float | int]
    history: list[dict[str, float]]
    patches: Patches | None = None  # of the scene, where the preset lays them
    classes: ClassMaps | None = None
    residuals: Residuals | None = None

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
        latent = self.latent
        return (latent.abundances if isinstance(latent, JointLatent) else latent).mean.device

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
        labels: NDArray[Any] | Tensor | None = None,  # (H, W)
        label_names: Sequence[str] | None = None,
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
        labels : (H, W) integers, optional
            Classes of some pixels, 0 = unlabelled; a few of each class suffice. Their classes are learned with the
            abundances: `sample` then gives class maps with the cubes (``classes``). Those of the scene are not looked
            at unless they are given: ``labels=scene.labels``.
        label_names : sequence of str, optional
            Names of the classes 1, 2, ...
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
            Begin from these weights in place of random ones, the average too; channels of classes begin at random. The
            model must have as many endmembers and the same network; its scene and sensor may be any.
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
            `labels` of another shape or of fewer than two classes in valid pixels; an unknown precision; no valid
            pixel; a scene smaller than the training window or without a window free of masked pixels; `endmembers`
            out of range; an unknown preset or encoder; a `start` with another network or number of endmembers; a
            checkpoint of another training.
        RuntimeError
            A device that is not there; a loss that is not finite.
        """
        from hud_fast.diffusion.fitting import fit

        given = scene_from(scene, "HUD.fit", "scene")
        training = Training.of("HUD.fit", 1, **options)
        good = given.drop_bad_bands()
        classes = None
        if labels is not None:
            classes = processes.on_first(partial(ClassMaps.of, good, labels, label_names))
        elif label_names is not None:
            raise ValueError("HUD.fit: `label_names` must be None without `labels`")
        _, (model,) = fit([good], [endmembers], training, classes)
        return model

    @in_plain_torch
    def labelled(
        self,
        scene: Scene | NDArray[Any] | Tensor,  # Scene or (H, W, C)
        labels: NDArray[Any] | Tensor,  # (H, W)
        label_names: Sequence[str] | None = None,
    ) -> HUD:
        """This model with classes: what `fit` with labels gives, for a model that lays patches and has no network.

        Of a scene with masked pixels its patches stay those without; `fit` with labels also takes some that have gaps.

        Parameters
        ----------
        scene : Scene or (H, W, C) array or tensor
            That the model was fit on.
        labels, label_names
            As in `fit`.

        Raises
        ------
        ValueError
            A model with a network, which has to be trained with labels; a scene of another size, or with fewer
            valid pixels.
        """
        from hud_fast.diffusion.fitting import labelled

        return labelled(self, scene, labels, label_names)

    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: Literal[False] = ...,
        as_tensors: Literal[False] = ...,
        **options: Unpack[PlainOptions],
    ) -> Array: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: Literal[True],
        as_tensors: Literal[False] = ...,
        **options: Unpack[PlainOptions],
    ) -> tuple[Array, Array]: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: bool = ...,
        as_tensors: Literal[True],
        **options: Unpack[PlainOptions],
    ) -> Any: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        return_abundances: bool = ...,
        as_tensors: bool = ...,
        **options: Unpack[LabelledOptions],
    ) -> Any: ...
    @takes(Sampling.of)
    @in_plain_torch
    def sample(
        self,
        n: int,
        *,
        return_abundances: bool = False,
        as_tensors: bool = False,
        **options: Any,  # those of `Sampling.of`
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
        classes : bool, mapping or sequence, optional
            Of a model that was fit with labels: also return class maps. True: of samples as they come. A mapping of
            classes, by name or number, to shares: of samples that have so much of these, on average
            (``{"Corn": 0.3}``); a sequence of classes, or a share of None, asks for one half, divided among them.
        guidance : float, optional
            How much a network heeds the classes asked for: 1 as it learned, more is clearer and less varied, 0 not at
            all; default 2. Patches alone are weighed instead (`diffusion.patch_weights`).
        residuals : bool
            Of a model that was fit with labels: add to each pixel what mixing left of a real pixel that looks like it
            (`diffusion.residuals`), as a classifier of real spectra needs it. Abundances then say how a pixel was mixed
            before that.
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
        maps : (n, h, w) uint8, int32 where classes have numbers above 255
            Only with `classes`: the number of the class that has more than half of a pixel, 0 where none has.

        Warns
        -----
        UserWarning
            Where patches alone bring less than half of a share that was asked for.

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
        wanted = [self.C, self.D if return_abundances else 0, None if sampling.labelled else 0]
        depths = [depth for depth in wanted if depth != 0]
        batches = (
            tuple(part for part, depth in zip(batch, wanted, strict=False) if depth != 0)
            for batch in self._mixed(sampling)
        )
        found = self._gathered(batches, sampling, depths, as_tensors)
        return found if len(found) > 1 else found[0]

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
        (n, h, w) integers
            Only with `classes`: as `sample` returns them.
        """
        sampling = Sampling.of(self, n, **options)
        depths = [self.D, None] if sampling.labelled else [self.D]
        batches = (
            self._labelled_maps(sampling, *both) for both in abundance_batches(self, sampling)
        )
        found = self._gathered(batches, sampling, depths, as_tensors)
        return found if sampling.labelled else found[0]

    @in_plain_torch
    def sample_batches(
        self,
        n: int,
        *,
        as_tensors: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Generator[tuple[Any, ...]]:  # each (b, h, w, C), (b, h, w, D)
        """Generate cubes and abundance maps batch by batch, so that any number of them fits in memory.

        The arguments are those of `sample`; put together, the batches are what `sample` returns. From a GPU a batch
        comes to the host while the next one is being made.

        Yields
        ------
        cubes, abundances : (b, h, w, C) and (b, h, w, D) float32, b <= batch_size
            With `classes` a third, the maps (b, h, w).
        """
        mixed = self._mixed(Sampling.of(self, n, **options))
        found: Iterator[Any] = mixed if as_tensors else on_host(mixed)
        yield from found

    def _labelled_maps(
        self, sampling: Sampling, abundances: Tensor, shares: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Abundances (b, h, w, D), and class maps (b, h, w) where they are wanted."""
        if sampling.labelled and self.classes is not None and shares is not None:
            return abundances, self.classes.map_of(shares)
        return (abundances,)

    def _mixed(self, sampling: Sampling) -> Iterator[tuple[Tensor, ...]]:
        """Cubes (b, h, w, C), then as `_maps`."""
        done = sampling.samples.start
        for abundances, shares in abundance_batches(self, sampling):
            cubes = abundances.to(self.device) @ self._spectra
            if sampling.residuals and self.residuals is not None and shares is not None:
                made = range(done, done + len(cubes))
                drawn = self.residuals.drawn(abundances, shares, made, seed=sampling.seed)
                cubes += drawn.to(cubes)
            done += len(cubes)
            yield (cubes, *self._labelled_maps(sampling, abundances, shares))

    def _gathered(
        self,
        batches: Iterator[tuple[Tensor, ...]],
        sampling: Sampling,
        depths: Sequence[int | None],
        as_tensors: bool,
    ) -> tuple[Any, ...]:  # each (n, h, w, depth), or (n, h, w) class numbers where that is None
        """All batches in one array or tensor; of no samples in another process than the first."""
        plane = (len(sampling.samples) if processes.is_first() else 0, *sampling.size)
        numbers = torch.uint8 if self.classes is None else self.classes.dtype
        kinds = [
            (plane, numbers) if depth is None else ((*plane, depth), torch.float32)
            for depth in depths
        ]
        return gathered(batches, kinds, self.device if as_tensors else None)

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
            **({} if self.classes is None else {"classes": self.classes.counts()}),
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
        classes = None if self.classes is None else self.classes.to(where)
        return replace(self, latent=self.latent.to(where), patches=patches, classes=classes)
