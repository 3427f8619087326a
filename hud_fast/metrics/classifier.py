"""The network that the inception score and the Frechet distance of one scene need: it classifies the scene's pixels.

No network is there for hyperspectral scenes as Inception is for photographs, so one is trained on each scene's own
labels. Two kinds:

* **window**, the default: sees 5 x 5 pixels, so that texture and layout count; cross-entropy on labelled pixels,
  Adam with a rate that falls to 0. Values are standardised band by band with the training scene's mean and deviation.
* **pixel**, the HUD authors': 1x1 convolutions only, so that a cube with its pixels shuffled has the same features;
  binary cross-entropy of the softmax against one-hot targets, Adam with weight decay 1e-4. It takes values as they
  are: give it the authors' [-1, 1]. Their settings are layers=16, rate=1e-4, batch=32, side=32, background=True.

What is to be judged must not have been learned from: fit on one half of a scene, judge against the other, and read
every number beside the accuracy on pixels that were held out.

Shapes: cube (H, W, C), labels (H, W); cubes (B, h, w, C) -> features (B, h, w, 64), probabilities (B, h, w, K).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from hud_fast._checks import (
    as_device,
    as_numpy,
    as_wide,
    check_choice,
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_seed,
)
from hud_fast._torch_state import in_plain_torch
from hud_fast.metrics._classifier_networks import KINDS, Network
from hud_fast.metrics._classifier_storage import load_classifier, save_classifier
from hud_fast.metrics._classifier_training import train
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.real_blocks import groups
from hud_fast.metrics.samples import Spectra, check_scene, read_spectra

Kind = Literal["window", "pixel"]

_LARGEST = 1 << 31  # label
_PIXELS = 1 << 14  # at once: 16 MiB of 256 channels
_DEFAULTS: dict[str, dict[str, Any]] = {
    "window": {"layers": 0, "steps": 100, "batch": 8, "side": 32, "rate": 3e-3},
    "pixel": {"layers": 4, "steps": 300, "batch": 1024, "side": 1, "rate": 1e-3},
}


@dataclass(frozen=True)
class Accuracy:
    """How well the labels of some pixels are found."""

    right: float  # share of the labelled pixels
    largest: float  # share of their largest class: what saying that class everywhere would give
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SceneClassifier:
    """A network that tells the classes of one scene, and gives 64 features a pixel.

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode.
    kind : {"window", "pixel"}
    classes : tuple of int
        The K labels learned, in the order of the probabilities.
    settings : mapping
        What it was trained with: layers, steps, batch, side, rate, background (1 or 0), seed.
    accuracies : mapping of str to Accuracy
        "training": of the pixels learned from. Add those of held-out pixels with `dataclasses.replace`.

    Examples
    --------
    Two materials, one above the other:

    >>> import numpy as np
    >>> labels = np.repeat([1, 2], 8)[:, None].repeat(12, axis=1)
    >>> cube = np.array([[1.0, 5, 2], [3, 1, 4]])[labels - 1]
    >>> classifier = SceneClassifier.fit(cube, labels, steps=10, batch=2)
    >>> classifier.features(cube[None]).shape, classifier.cells(cube[None], cell=4).shape
    (torch.Size([1, 16, 12, 64]), torch.Size([1, 12, 64]))
    >>> classifier.accuracy(cube, labels).pixels
    192
    """

    network: Network
    kind: str
    classes: tuple[int, ...]
    settings: Mapping[str, float]
    accuracies: Mapping[str, Accuracy]

    @property
    def C(self) -> int:
        """Number of bands."""
        return len(self.network.mean)

    @property
    def device(self) -> torch.device:
        """Where the network lies, and what it gives."""
        return self.network.mean.device

    @classmethod
    @in_plain_torch
    def fit(
        cls,
        cube: Any,  # (H, W, C)
        labels: Any,  # (H, W) int
        *,
        kind: Kind = "window",
        mask: Any = None,  # (H, W) bool
        background: bool = False,
        layers: int | None = None,
        steps: int | None = None,
        batch: int | None = None,
        side: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        device: Any = None,
        progress: Progress | None = None,
    ) -> SceneClassifier:
        """Train a classifier on the labelled pixels of a scene.

        Parameters
        ----------
        cube : array or tensor, (H, W, C)
            The scene, or the half of it that may be learned from; any unit for "window", [-1, 1] for "pixel".
        labels : array or tensor of int, (H, W)
            Class of each pixel, 0 = unlabelled.
        kind : {"window", "pixel"}
            As the module's docstring says.
        mask : array or tensor of bool, (H, W), optional
            True = valid pixel. Masked and non-finite pixels are no examples, and stand in the windows as mean spectra.
        background : bool
            Whether unlabelled pixels are a class of their own, as the authors have it.
        layers : int, optional
            Of 256 channels, for "pixel": 4, or the authors' 16.
        steps, batch, side, rate : optional
            Training steps; windows of side x side pixels a step; Adam's rate. Without: 100 steps of 8 windows of 32
            pixels at 3e-3 for "window", 300 steps of 1024 single pixels at 1e-3 for "pixel", a demonstration's.
        seed : int
            Of weights and windows: the same seed gives the same weights on the same machine and number of threads.
        device : str or torch.device, optional
            The CPU where it is None.
        progress : callable, optional
            Called as progress(done, total) in steps.

        Returns
        -------
        SceneClassifier

        Raises
        ------
        TypeError
            Input that is not numeric, labels that are not integers, a mask that is not boolean, counts that are not
            whole numbers.
        ValueError
            Shapes that do not fit, fewer than two classes, negative labels, `layers` for "window".
        """
        name = "SceneClassifier.fit"
        check_choice(name, "kind", kind, KINDS)
        background, seed = check_flag(name, "background", background), check_seed(name, seed)
        if kind == "window" and layers is not None:
            raise ValueError(f'{name}: `layers` is for kind "pixel" only, got {layers}')
        usual = _DEFAULTS[kind]
        given = {"layers": layers, "steps": steps, "batch": batch, "side": side}
        sizes = {
            key: usual[key] if value is None else check_count(name, key, value)
            for key, value in given.items()
        }
        rate = usual["rate"] if rate is None else check_number(name, "rate", rate)
        if not 0 < rate < np.inf:
            raise ValueError(f"{name}: `rate` must be positive and finite, got {rate}")
        place = as_device(name, "device", "cpu" if device is None else device)
        scene = read_spectra(name, "cube", cube, "mask", mask)
        check_scene(name, scene, "cube")
        known = _labels(name, labels, scene, background)
        classes = np.unique(known[known >= 0]).tolist()
        if len(classes) < 2:
            raise ValueError(
                f"{name}: `labels` must hold at least two classes in valid pixels, got {classes}"
            )
        target = np.where(known >= 0, np.searchsorted(classes, known), -1)
        layers = sizes.pop("layers")
        # torch draws weights and dropout from global generators: give them ours, leave the user's as they were
        cards = [place] if place.type == "cuda" else []
        with torch.random.fork_rng(devices=cards):
            torch.manual_seed(int(np.random.SeedSequence([seed, 0]).generate_state(1)[0]))
            network = Network(kind, scene.C, len(classes), layers).to(place)
            if kind == "window":
                network.mean, network.std = (t.to(place) for t in _moments(scene))
            train(
                network,
                network.prepared(scene.values[None], scene.valid)[0],
                torch.from_numpy(target).to(place),
                kind=kind,
                rate=rate,
                seed=seed,
                progress=progress,
                **sizes,
            )
        settings = {
            "layers": layers,
            **sizes,
            "rate": rate,
            "background": int(background),
            "seed": seed,
        }
        found = cls(network, kind, tuple(classes), settings, {})
        training = found._accuracy(name, scene, known)
        return cls(network, kind, found.classes, settings, {"training": training})

    def features(self, cubes: Any) -> Tensor:  # (B, h, w, C) -> (B, h, w, 64) float32
        """Of each pixel, the 64 numbers before the last layer, on the classifier's device."""
        return self._of_cubes("features", cubes, lambda x: x.movedim(1, -1))

    def probabilities(self, cubes: Any) -> Tensor:  # (B, h, w, C) -> (B, h, w, K) float32
        """Of each pixel, the probability of each of `classes`."""
        return self._of_cubes("probabilities", cubes, lambda x: self._chances(x).movedim(1, -1))

    def cells(self, cubes: Any, cell: int = 8) -> Tensor:  # (B, h, w, C) -> (B, m, 64) float32
        """Features averaged over tiles of cell x cell pixels, row by row; remainders are dropped."""
        return self._of_cubes("cells", cubes, lambda x: _tiles(x, cell), cell)

    def cell_probabilities(self, cubes: Any, cell: int = 8) -> Tensor:  # -> (B, m, K) float32
        """Probabilities averaged over tiles of cell x cell pixels, as `cells`."""
        return self._of_cubes(
            "cell_probabilities", cubes, lambda x: _tiles(self._chances(x), cell), cell
        )

    def scene_cells(
        self,
        cube: Any,  # (H, W, C)
        mask: Any = None,  # (H, W) bool
        cell: int = 8,
        stride: int = 4,
    ) -> Tensor:  # (N, 64) float32
        """Features averaged over every cell of a scene, a step of `stride` pixels apart.

        Cells with a masked or non-finite pixel are left out. A cell inside the scene is seen with its neighbours,
        those at the edges of generated `cells` with pixels repeated.
        """
        name = "SceneClassifier.scene_cells"
        cell, stride = check_count(name, "cell", cell), check_count(name, "stride", stride)
        scene = self._read_scene(name, cube, mask)
        H, W = scene.valid.shape
        if cell > min(H, W):
            raise ValueError(f"{name}: `cell` must fit into the scene of {H} x {W}, got {cell}")
        together = max(1, _PIXELS // W // stride)  # rows of cells
        found = []
        for first in range(0, H - cell + 1, together * stride):
            last = min(first + (together - 1) * stride + cell, H)
            x = self._rows(scene, first, last)
            means = avg_pool2d(x, cell, stride)[0].movedim(0, -1)
            valid = scene.valid[first:last].float()
            whole = avg_pool2d(valid[None, None], cell, stride)[0, 0] == 1
            found.append(means[whole.to(means.device)])
        return torch.cat(found)

    def accuracy(
        self,
        cube: Any,  # (H, W, C)
        labels: Any,  # (H, W) int
        mask: Any = None,  # (H, W) bool
    ) -> Accuracy:
        """Share of labelled valid pixels whose class is found; a class that was not learned is never found.

        Class 0 counts where it was learned.

        Raises
        ------
        ValueError
            Shapes that do not fit, other bands than learned, no labelled pixel.
        """
        name = "SceneClassifier.accuracy"
        scene = self._read_scene(name, cube, mask)
        return self._accuracy(name, scene, _labels(name, labels, scene, 0 in self.classes))

    def save(self, folder: str | Path) -> None:
        """Write to `folder`: config.json and network.safetensors, all or nothing.

        Raises
        ------
        FileExistsError
            If `folder` holds anything but an older classifier.
        """
        save_classifier(self, Path(folder))

    @classmethod
    @in_plain_torch
    def load(cls, folder: str | Path, *, device: Any = None) -> SceneClassifier:
        """Read what `save` wrote; nothing in the folder is run.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or it is of no or another kind.
        DamagedFileError
            If a file is missing, truncated, altered or of another network.
        """
        place = as_device("SceneClassifier.load", "device", "cpu" if device is None else device)
        return load_classifier(Path(folder), place)

    def _chances(self, features: Tensor) -> Tensor:  # (n, 64, h, w) -> (n, K, h, w)
        logits: Tensor = self.network.head(features)
        return logits.softmax(1)

    @torch.no_grad()
    def _of_cubes(
        self, method: str, cubes: Any, make: Callable[[Tensor], Tensor], cell: int = 1
    ) -> Tensor:
        """What `make` makes of the features (n, 64, h, w) of all cubes, a few at a time."""
        name = f"SceneClassifier.{method}"
        cell = check_count(name, "cell", cell)
        shape = tuple(getattr(cubes, "shape", ()))
        if len(shape) != 4 or 0 in shape or shape[3] != self.C:
            raise ValueError(
                f"{name}: `cubes` must have shape (B, h, w, C) with C = {self.C}, got {shape}"
            )
        B, h, w, _ = shape
        if cell > min(h, w):
            raise ValueError(f"{name}: `cell` must fit into cubes of {h} x {w}, got {cell}")
        step = max(1, _PIXELS // (h * w))
        found = []
        for first in range(0, B, step):
            part = as_wide(name, "cubes", cubes[first : first + step]).detach()
            check_finite(name, "cubes", part)
            found.append(make(self.network.features(self.network.prepared(part))).contiguous())
        return torch.cat(found)

    def _read_scene(self, function: str, cube: Any, mask: Any) -> Spectra:
        scene = read_spectra(function, "cube", cube, "mask", mask)
        check_scene(function, scene, "cube")
        if scene.C != self.C:
            raise ValueError(
                f"{function}: `cube` must have the C = {self.C} bands learned, got {scene.C}"
            )
        return scene

    @torch.no_grad()
    def _rows(self, scene: Spectra, first: int, last: int) -> Tensor:  # (1, 64, last - first, W)
        """Features of some rows of a scene, with the rows around them in sight."""
        halo = self.network.halo
        above = min(first, halo)
        lines = slice(first - above, last + halo)
        x = self.network.prepared(scene.values[None, lines], scene.valid[None, lines])
        return self.network.features(x)[:, :, above : above + last - first]

    def _accuracy(self, function: str, scene: Spectra, labels: NDArray[np.int64]) -> Accuracy:
        counted = labels >= 0
        if not counted.any():
            raise ValueError(f"{function}: `labels` must hold at least one labelled valid pixel")
        H, W = labels.shape
        step, right = max(1, _PIXELS // W), 0
        classes = np.array(self.classes)
        for first in range(0, H, step):
            last = min(first + step, H)
            guess = self.network.head(self._rows(scene, first, last)).argmax(1)[0].cpu().numpy()
            right += int((classes[guess] == labels[first:last])[counted[first:last]].sum())
        sizes = np.unique(labels[counted], return_counts=True)[1]
        total = int(counted.sum())
        return Accuracy(right / total, int(sizes.max()) / total, total)


def _labels(function: str, labels: Any, scene: Spectra, background: bool) -> NDArray[np.int64]:
    """The label of each pixel, -1 where none counts."""
    given = as_numpy(function, "labels", labels)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{function}: `labels` must hold integers, got {given.dtype}")
    if given.shape != tuple(scene.valid.shape):
        raise ValueError(
            f"{function}: `labels` must have the shape {tuple(scene.valid.shape)} of `cube`, got {given.shape}"
        )
    if given.min() < 0 or given.max() > _LARGEST:
        raise ValueError(
            f"{function}: `labels` must lie in [0, {_LARGEST}], got {given.min()} to {given.max()}"
        )
    counted = scene.valid.cpu().numpy() & (background | (given > 0))
    return np.where(counted, given.astype(np.int64), -1)


def _moments(scene: Spectra) -> tuple[Tensor, Tensor]:  # (C,), (C,) float32
    """Mean and standard deviation of each band over the valid pixels; 1 for a band that does not vary."""
    rows = scene.rows()
    mean = torch.stack([rows[few].double().sum(0) for few in groups(rows)]).sum(0) / len(rows)
    square = [(rows[few].double() - mean).square().sum(0) for few in groups(rows)]
    std = (torch.stack(square).sum(0) / len(rows)).sqrt().float()
    return mean.float(), torch.where(std > 0, std, 1)


def _tiles(x: Tensor, cell: int) -> Tensor:  # (n, k, h, w) -> (n, m, k)
    return avg_pool2d(x, cell).flatten(2).transpose(1, 2)
