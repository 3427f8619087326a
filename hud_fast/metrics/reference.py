"""What real data scores against itself: the scale on which F_p and D_b of generated data are to be read.

Two references, each with F_p, D_b and D_b / F_p:

* **halves**: blocks of one half of the scene against the other half, both ways. Real spectra in a
  layout that the other half does not hold: F_p is the ceiling that a generator can honestly reach,
  D_b the diversity of nature itself.
* **jittered copies**: crops of the scene, each multiplied by one random brightness factor in [0.98,
  1.02] and given white Gaussian noise with a standard deviation of 0.5 % of the scene's
  root-mean-square signal, against the whole scene. No flips or rotations. What memorising scores: a
  D_b / F_p near this value means copies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import check_choice, check_count, check_pair, check_seed
from hud_fast.kernels.cosine import Searcher, prepare
from hud_fast.kernels.windows import SearchScene
from hud_fast.metrics._nearest_pixels import in_parts, nearest_pixels
from hud_fast.metrics._nearest_windows import nearest_windows, shared_basis
from hud_fast.metrics._search import Norm, paired_cosine
from hud_fast.metrics.json_values import distribution
from hud_fast.metrics.progress import Progress, Stages
from hud_fast.metrics.real_blocks import cut_out, draw, groups, held_out_blocks, pixel_rows
from hud_fast.metrics.samples import (
    Spectra,
    check_scene,
    check_windows,
    read_spectra,
    whole_windows,
)

BRIGHTNESS = 0.02  # jitter: factor uniform in 1 -+ this, one for each block
NOISE = 0.005  # jitter: white noise, as a share of the scene's root-mean-square signal


@dataclass(frozen=True, eq=False)
class ReferenceValues:
    """The metrics of one set of real blocks."""

    point_fidelity: float
    block_diversity: float
    similarity: NDArray[np.float64]  # (n,) of each block with its best window

    @property
    def ratio(self) -> float:
        """D_b / F_p."""
        return self.block_diversity / self.point_fidelity

    def to_dict(self) -> dict[str, Any]:
        return {
            "point_fidelity": self.point_fidelity,
            "block_diversity": self.block_diversity,
            "ratio": self.ratio,
            "count": len(self.similarity),
            "blocks": distribution(self.similarity),
        }


@dataclass(frozen=True, eq=False)
class RealReference:
    """Real against real: `halves` and `jittered_copies`, and the options used."""

    halves: ReferenceValues
    jittered_copies: ReferenceValues
    block: tuple[int, int]
    stride: int
    norm: Norm
    seed: int
    brightness: float = BRIGHTNESS
    noise: float = NOISE

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, JSON-able."""
        options = asdict(self)
        return {
            "halves": self.halves.to_dict(),
            "jittered_copies": self.jittered_copies.to_dict(),
            "settings": {
                **{
                    name: options[name]
                    for name in ("stride", "norm", "seed", "brightness", "noise")
                },
                "block": list(self.block),
            },
        }


def real_reference(
    real: Any,  # (H, W, C)
    *,
    block: int | tuple[int, int] = 32,
    count: int = 64,
    seed: int = 0,
    stride: int = 1,
    norm: Norm = "pixel",
    mask: Any = None,  # (H, W) bool
    progress: Progress | None = None,
) -> RealReference:
    """F_p, D_b and their ratio of real blocks: one half against the other, and jittered copies.

    The blocks are drawn without replacement at random positions; fewer than `count` where the scene
    has fewer. The module's docstring says exactly what jitter is.

    Parameters
    ----------
    real : array or tensor, (H, W, C)
        The scene.
    block : int or (int, int)
        Size of the blocks in pixels; must fit into half of the scene.
    count : int
        Number of blocks of each kind, at least 2.
    seed : int
        Seed of positions and jitter.
    stride, norm
        As in `block_diversity`.
    mask : array or tensor of bool, (H, W), optional
        True = valid pixel; blocks and windows with a masked or non-finite pixel are left out.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    RealReference

    Raises
    ------
    TypeError, ValueError
        As `block_diversity`, and where the block does not fit into both halves of the scene.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.random.default_rng(0).random((20, 12, 5))
    >>> reference = real_reference(real, block=4, count=8)
    >>> reference.halves.block_diversity < reference.jittered_copies.block_diversity
    True
    """
    name = "real_reference"
    shape = check_pair(name, "block", block)
    count = check_count(name, "count", count, least=2)
    seed = check_seed(name, seed)
    stride = check_count(name, "stride", stride)
    check_choice(name, "norm", norm, ("pixel", "block"))
    scene = read_spectra(name, "real", real, "mask", mask)
    check_scene(name, scene)
    check_windows(name, scene, *shape, stride)
    held_out = held_out_blocks(name, scene, shape, count, seed)
    stages = Stages(
        progress,
        {
            "half 0 points": 1,
            "half 0": 2,
            "half 1 points": 1,
            "half 1": 2,
            "copies points": 6,
            "copies": 8,
        },
    )

    points, similarities, searches = [], [], []
    for number, half in enumerate(held_out):
        blocks = cut_out(scene, half.origin, shape)
        # Overlapping blocks share pixels: each distinct one is looked up once.
        rows = pixel_rows(half.origin, shape, scene.values.shape[1])
        distinct, place = rows.unique(return_inverse=True)
        pixels = scene.values.reshape(-1, scene.C)[distinct.to(scene.values.device)]
        advance = stages[f"half {number} points"]
        search = prepare(pixels, half.other.rows())
        searches.append(search)
        cosine, _ = in_parts(search.run, pixels, advance)
        points.append(cosine[place.to(cosine.device)].flatten())
        similarities.append(
            nearest_windows(
                blocks,
                # of this use alone: spectra in all bands are several times the scene
                SearchScene.of(half.other.values, half.other.valid, shared_basis(pixels)),
                stride=stride,
                norm=norm,
                progress=stages[f"half {number}"],
            ).value
        )
    halves = _values(torch.cat(points), torch.cat(similarities))

    generator = np.random.default_rng([seed, 2])
    origin = draw(whole_windows(scene.valid, *shape), count, generator)
    originals = cut_out(scene, origin, shape)
    copies = jitter(originals, scene, generator)
    flat = copies.reshape(-1, scene.C)
    basis = shared_basis(flat)
    own = torch.cat([paired_cosine(copies[few], originals[few]) for few in groups(originals)])
    similarity = own.mean(dim=(1, 2))
    cosine = _nearest_of_copies(flat, own, originals, searches, scene, stages["copies points"])
    # No window can beat the mean of the pixels' own maxima. A copy whose every pixel is nearest to
    # its own original attains it at its own place, and needs no search; the jitter is small, so
    # nearly all do.
    bound = cosine.reshape(len(copies), -1).mean(dim=1)
    proven = similarity >= bound - 1e-12
    if norm != "pixel" or stride != 1:
        proven[:] = False
    if not bool(proven.all()):
        found = nearest_windows(
            copies[~proven],
            scene.searches.by(basis),
            stride=stride,
            norm=norm,
            progress=stages["copies"],
        )
        similarity[~proven] = found.value
    if progress is not None:
        progress(1000, 1000)
    return RealReference(halves, _values(cosine, similarity), shape, stride, norm, seed)


def _nearest_of_copies(
    copies: Tensor,  # (m, C)
    own: Tensor,  # (n, h, w) cosine of each with its original
    originals: Tensor,  # (n, h, w, C)
    halves: list[Searcher],
    scene: Spectra,
    progress: Progress | None,
) -> Tensor:  # (m,) float64
    """Largest cosine with any pixel of the scene: of either half, where what searched them is at hand.

    Few pixels are as near as a copy's own original, so next to nothing is looked at.
    """
    above = [half.above for half in halves if half.above is not None]
    if len(above) < len(halves):
        return nearest_pixels(copies, scene.rows(), progress=progress)[0]
    # less than it is by more than its rounding; a zero pixel's cosine, 0, is no pixel's
    known = torch.where((originals == 0).all(-1), -1.0, own - 1e-9).reshape(-1)

    def ask(some: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
        found = [search(some, reached)[0] for search in above]
        return torch.stack(found).amax(dim=0), reached

    return in_parts(ask, copies, progress, known)[0]


def jitter(
    blocks: Tensor,  # (n, h, w, C)
    scene: Spectra,
    generator: np.random.Generator,
) -> Tensor:  # (n, h, w, C)
    """Copies with one brightness factor a block and white noise, as the module's docstring says."""
    # A few lines, a few blocks at a time: in float64 all would take several times their memory. Left-out pixels are 0.
    lines = groups(scene.values)
    energy = torch.stack([scene.values[few].double().square().sum() for few in lines]).sum()
    rms = float(energy / (scene.counts.used * scene.C)) ** 0.5
    factor = 1 + BRIGHTNESS * generator.uniform(-1, 1, (len(blocks), 1, 1, 1))
    copies = torch.empty_like(blocks)
    for few in groups(blocks):
        noise = NOISE * rms * generator.standard_normal(tuple(blocks[few].shape))
        moved = blocks[few].double() * torch.from_numpy(factor[few]).to(blocks.device)
        copies[few] = moved + torch.from_numpy(noise).to(blocks.device)
    return copies


def _values(cosine: Tensor, similarity: Tensor) -> ReferenceValues:
    return ReferenceValues(float(cosine.mean()), float(similarity.mean()), similarity.cpu().numpy())
