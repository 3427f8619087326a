r"""Do generated blocks pass for real? Local structure, judged beside real blocks.

F_p and D_b ask whether spectra are right and blocks are new; neither sees that a field has straight borders. Here
blocks are taken for pictures, in two spaces (`_local_features.Space`), so that no generator is judged only in the one
that it works in: **spectra**, principal components of the logarithm of the mixed spectra, and **z**, those of the
log-projected abundances. Real blocks are mixed from their exact abundances too: sensor noise is no tell.

| value | question | fooled by |
| --- | --- | --- |
| classifier | AUC of a linear rule on local statistics of windows of 20 x 20 pixels, colours and contrast taken out: 0.5 = cannot tell | copies |
| straight_edges | share of gradient energy on straight edges | stripes |
| grain | rms difference from the 3 x 3 median, in standard deviations of the block | blur |
| frechet | distance of the Gaussians of whole blocks' statistics, colours left in | copies; few blocks |
| recall, coverage | share of real blocks that generated ones come near to (PRDC, k = 5) | outliers (recall) |
| zeros | share of abundances at the logarithm's floor; a generator that never says zero differs | - |
| copied_piece | largest part of a block that stands in the scene as it is | small changes everywhere |

Copies fool all of them but the last, so the last stands beside them, and `copies.copy_check` beside this whole module.
What did not tell good blocks from bad and is not here: a small CNN as the classifier (it learns the content of its
training windows), PRDC's precision, the kurtosis of gradients, one half of a scene against the other (halves differ
more than a generator from its scene).

The classifier learns from windows of one half of the scene's tiles (24 x 24 pixels, drawn at random) and one half of
the generated blocks, and is asked about the other halves. It wants `ENOUGH_TILES` tiles; below that its verdict is
mostly chance (a note says so), and below `FEWEST_TILES` it is undefined. Frechet, recall and coverage take 24 principal
components of the statistics of whole blocks, against 400 real blocks.

All is measured at the same number of blocks for generated and real: at most `blocks`, since a Frechet distance falls
with the number. The **real** row are that many blocks from random places, in random turns; its own place is left out
where pieces are looked for. Intervals: of edges, grain, zeros and pieces the bootstrap over blocks (`bootstrap`); of
classifier, Frechet, recall and coverage the mean and two standard deviations over `SPLITS` repetitions with other
filters, tiles and reference blocks (a generator's own luck with its samples is not in them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.metrics._copied_pieces import Pieces
from hud_fast.metrics._json import plain
from hud_fast.metrics._local_features import (
    Bank,
    Space,
    grain,
    straight_edges,
    structure_features,
)
from hud_fast.metrics._real_blocks import SceneTooSmall, draw
from hud_fast.metrics._samples import whole_windows
from hud_fast.metrics._search import Progress
from hud_fast.metrics._two_samples import area_under_curve, frechet_distance, recall_coverage
from hud_fast.metrics.bootstrap import Estimate, estimate, means, resampling_weights
from hud_fast.unmixing._pixels import as_tensor, check_count, check_seed

Array = NDArray[np.float64]

WINDOW = 20  # pixels, of the classifier; smaller where the blocks are
SMALLEST = 8  # pixels, of a block: below it there is no structure to judge
TILE = 24  # pixels, of the scene's parts that train or test the classifier
ENOUGH_TILES, FEWEST_TILES = 24, 8
WINDOWS = 160  # of a class, to train and to test
EVEN = 0.15  # added to a window's standard deviation before dividing by it
SPLITS = 5
REFERENCE = 400  # real blocks
AXES = 24  # of whole blocks' statistics


@dataclass(frozen=True)
class SpaceValues:
    """The values in one space; None: undefined for these blocks and this scene."""

    classifier: Estimate | None
    straight_edges: Estimate
    grain: Estimate
    frechet: Estimate | None
    recall: Estimate | None
    coverage: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        return {k: None if v is None else v.to_dict() for k, v in vars(self).items()}


@dataclass(frozen=True)
class RealismRow:
    """The values of one set of blocks."""

    blocks: int
    spectra: SpaceValues
    z: SpaceValues
    zeros: Estimate  # share of abundances at the logarithm's floor
    copied_piece: Estimate  # share of a block, mean over blocks
    largest_copied_piece: float  # share of a block, the largest of all

    def to_dict(self) -> dict[str, Any]:
        return {
            "blocks": self.blocks,
            "spectra": self.spectra.to_dict(),
            "z": self.z.to_dict(),
            "zeros": self.zeros.to_dict(),
            "copied_piece": self.copied_piece.to_dict(),
            "largest_copied_piece": self.largest_copied_piece,
        }


@dataclass(frozen=True)
class Realism:
    """Generated blocks beside as many real ones."""

    generated: RealismRow
    real: RealismRow
    block: tuple[int, int]
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        result: dict[str, Any] = plain(
            {
                "generated": self.generated.to_dict(),
                "real": self.real.to_dict(),
                "notes": list(self.notes),
                "settings": {"block": list(self.block), "seed": self.seed},
            }
        )
        return result


@dataclass(frozen=True, eq=False)
class _Blocks:
    abundances: Tensor  # (n, h, w, D)
    origin: NDArray[np.int64] | None = None  # (n, 2), of real ones


def realism(
    abundances: Any,  # (B, h, w, D)
    scene: Any,  # (H, W, D)
    endmembers: Any,  # (D, C)
    *,
    blocks: int = 64,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Realism:
    """Judge whether generated blocks pass for blocks of the scene.

    Parameters
    ----------
    abundances : array or tensor, (B, h, w, D)
        Of the generated blocks, B >= 2.
    scene : array or tensor, (H, W, D)
        The scene's own abundances in the same endmembers (`fcls`); NaN at masked pixels.
    endmembers : array or tensor, (D, C)
        Spectra that both are mixed from.
    blocks : int
        Blocks judged, generated and real alike; the first of `abundances`, or as many as there are.
    bootstrap : int
        Resamples of the intervals over blocks; 0 gives none of these.
    seed : int
        Of filters, real blocks, tiles, windows and resamples.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    Realism

    Raises
    ------
    TypeError
        Input that is not numeric.
    ValueError
        Shapes that do not fit, generated values that are not finite, a scene without two whole windows of the size
        of the blocks, blocks smaller than 8 x 8 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> scene = rng.dirichlet(np.ones(3), (60, 60))
    >>> found = realism(scene[None, :16, :16].repeat(4, 0), scene, rng.random((3, 9)), bootstrap=0)
    >>> found.generated.blocks, found.generated.largest_copied_piece, found.generated.spectra.recall.value < 0.5
    (4, 1.0, True)
    """
    name = "realism"
    blocks = check_count(name, "blocks", blocks, least=2)
    bootstrap = check_count(name, "bootstrap", bootstrap, least=0)
    seed = check_seed(name, seed)
    maps, known, spectra = _read(name, abundances, scene, endmembers)
    maps = _turned(maps[:blocks], np.random.default_rng([seed, 6]))
    n, h, w, _ = maps.shape
    valid = known.isfinite().all(dim=-1)
    whole = whole_windows(valid, h, w) if h <= len(valid) and w <= valid.shape[1] else None
    if whole is None or int(whole.sum()) < 2:
        raise SceneTooSmall(
            f"{name}: `scene` must hold two windows of {h} x {w} valid pixels, as large as `abundances`, got "
            f"{len(valid)} x {valid.shape[1]} that does not: take smaller blocks"
        )
    sets = {
        "generated": _Blocks(maps),
        "real": _real(known, whole, (h, w), n, np.random.default_rng([seed, 0])),
    }
    n = min(len(one.abundances) for one in sets.values())
    sets = {
        key: _Blocks(one.abundances[:n], None if one.origin is None else one.origin[:n])
        for key, one in sets.items()
    }
    pixels = known[valid]
    spaces = {"spectra": Space.of_spectra(pixels, spectra), "z": Space.of_latents(pixels)}
    notes: list[str] = []
    values: dict[str, dict[str, Any]] = {"generated": {}, "real": {}}
    weights = resampling_weights(n, bootstrap, [seed, 1])
    done = 0

    def tick(share: int) -> None:
        nonlocal done
        done += share
        if progress is not None:
            progress(done, 1000)

    for key, space in spaces.items():
        pictures = {row: space.maps(one.abundances) for row, one in sets.items()}
        found = _compare(pictures, known, valid, whole, space, seed, notes, tick)
        for row, picture in pictures.items():
            values[row][key] = SpaceValues(
                straight_edges=_ratio(*straight_edges(picture), weights),
                grain=_ratio(*grain(picture), weights, root=True),
                **found[row],
            )
    picture = np.full((*valid.shape, spaces["spectra"].axes.shape[1]), np.nan)
    picture[valid.cpu().numpy()] = spaces["spectra"].maps(pixels).double().cpu().numpy()
    pieces = Pieces(picture, [seed, 2])
    floor = (
        2 * float(np.exp(-8)) / known.shape[-1]
    )  # an abundance of zero, within the logarithm's own delta
    for row, one in sets.items():
        own = spaces["spectra"].maps(one.abundances).double().cpu().numpy()
        largest = np.array(
            [
                pieces.largest(own[k], None if one.origin is None else tuple(one.origin[k]))
                for k in range(n)
            ]
        )
        zero = (one.abundances <= floor).double().mean(dim=(1, 2, 3)).cpu().numpy()
        values[row] |= {
            "zeros": estimate(means(zero, weights)),
            "copied_piece": estimate(means(largest, weights)),
            "largest_copied_piece": float(largest.max()),
        }
        tick(100)
    rows = {row: RealismRow(blocks=n, **found) for row, found in values.items()}
    return Realism(**rows, block=(h, w), seed=seed, notes=tuple(dict.fromkeys(notes)))


def _read(name: str, abundances: Any, scene: Any, endmembers: Any) -> tuple[Tensor, Tensor, Tensor]:
    maps = as_tensor(name, "abundances", abundances).detach()
    if maps.ndim != 4 or len(maps) < 2 or min(maps.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"{name}: `abundances` must have shape (B, h, w, D) with B >= 2 and h, w >= {SMALLEST}, got "
            f"{tuple(maps.shape)}"
        )
    if not bool(maps.isfinite().all()):
        raise ValueError(f"{name}: `abundances` must be finite, got NaN or infinity")
    known = as_tensor(name, "scene", scene).detach().to(maps.device)
    D = maps.shape[-1]
    if known.ndim != 3 or known.shape[-1] != D:
        raise ValueError(
            f"{name}: `scene` must have shape (H, W, D) with D = {D} as in `abundances`, got {tuple(known.shape)}"
        )
    spectra = as_tensor(name, "endmembers", endmembers).detach().to(maps.device)
    if spectra.ndim != 2 or len(spectra) != D:
        raise ValueError(
            f"{name}: `endmembers` must have shape (D, C) with D = {D} as in `abundances`, got "
            f"{tuple(spectra.shape)}"
        )
    return maps, known.clamp_min(0), spectra


def _real(
    known: Tensor, whole: Tensor, block: tuple[int, int], count: int, rng: np.random.Generator
) -> _Blocks:
    """Blocks of the scene from random places, each in a random turn that keeps its shape."""
    origin = draw(whole, count, rng).numpy()
    origin = origin[rng.permutation(len(origin))]
    h, w = block
    cut = [known[i : i + h, j : j + w] for i, j in origin]
    return _Blocks(torch.stack([_random_turn(one, rng) for one in cut]), origin)


def _turned(blocks: Tensor, rng: np.random.Generator) -> Tensor:  # (n, h, w, D)
    """Each block in a random turn: which way is up is not judged."""
    return torch.stack([_random_turn(one, rng) for one in blocks])


def _random_turn(window: Tensor, rng: np.random.Generator) -> Tensor:
    """One of the symmetries of the window's shape."""
    h, w, _ = window.shape
    turn = int(rng.integers(8))
    axes = [axis for axis in (0, 1) if turn >> axis & 1]
    window = window.flip(axes) if axes else window
    return window.transpose(0, 1) if turn & 4 and h == w else window


def _ratio(
    part: Array,  # (n, K)
    whole: Array,  # (n, K)
    weights: Array,  # (1 + R, n)
    *,
    root: bool = False,
) -> Estimate:
    """Ratio of two means over blocks, averaged over components."""
    shares = means(part, weights) / np.maximum(means(whole, weights), 1e-12)
    return estimate((np.sqrt(shares) if root else shares).mean(axis=1))


def _compare(
    pictures: dict[str, Tensor],  # each (n, h, w, K)
    known: Tensor,  # (H, W, D)
    valid: Tensor,
    whole: Tensor,
    space: Space,
    seed: int,
    notes: list[str],
    tick: Callable[[int], None],
) -> dict[str, dict[str, Estimate | None]]:
    """What takes two sets: classifier, Frechet distance, recall and coverage of each row."""
    n, h, w, K = next(iter(pictures.values())).shape
    scene = space.maps(torch.where(valid[..., None], known, 1 / known.shape[-1]))
    side = min(WINDOW, h, w)
    tiles = _tiles(valid, side)
    if len(tiles) < FEWEST_TILES:
        notes.append(
            f"the classifier is undefined: {len(tiles)} tiles of {TILE} x {TILE} pixels, it needs {FEWEST_TILES}"
        )
    elif len(tiles) < ENOUGH_TILES:
        notes.append(
            f"the classifier's verdict is mostly chance: {len(tiles)} tiles of {TILE} x {TILE} pixels, "
            f"{ENOUGH_TILES} are enough"
        )
    found: dict[str, list[dict[str, float]]] = {row: [] for row in pictures}
    known_blocks = _real(scene, whole, (h, w), REFERENCE, np.random.default_rng([seed, 5]))
    for split in range(SPLITS):
        bank = Bank.drawn(K, [seed, 3, split])
        rng = np.random.default_rng([seed, 4, split])
        reference = _block_features(bank, known_blocks.abundances)
        mean, spread = reference.mean(axis=0), reference.std(axis=0) + 1e-9
        axes = np.linalg.svd((reference - mean) / spread, full_matrices=False)[2][:AXES].T
        real = (reference - mean) / spread @ axes
        windows = None
        if len(tiles) >= FEWEST_TILES:
            halves = np.array_split(rng.permutation(len(tiles)), 2)
            windows = [
                _window_features(bank, _cut(scene, tiles, part, side, rng)) for part in halves
            ]
        for row, picture in pictures.items():
            values: dict[str, float] = {}
            if n > 2:
                mine = (_block_features(bank, picture) - mean) / spread @ axes
                values["frechet"] = frechet_distance(mine, real)
                values["recall"], values["coverage"] = recall_coverage(mine, real)
            if windows is not None:
                parts = np.array_split(rng.permutation(n), 2)
                cut = [
                    _window_features(bank, _cut_blocks(picture[torch.as_tensor(part)], side, rng))
                    for part in parts
                ]
                values["classifier"] = area_under_curve((cut[0], windows[0]), (cut[1], windows[1]))
            found[row].append(values)
        tick(400 // SPLITS)
    return {
        row: {
            key: _over_splits([one[key] for one in splits if key in one])
            for key in ("classifier", "frechet", "recall", "coverage")
        }
        for row, splits in found.items()
    }


def _over_splits(values: list[float]) -> Estimate | None:
    if not values:
        return None
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    return Estimate(mean, mean - 2 * spread, mean + 2 * spread)


def _tiles(valid: Tensor, side: int) -> list[NDArray[np.int64]]:  # each (n, 2)
    """Corners of the whole windows in each tile that has any."""
    H, W = valid.shape
    if min(H, W) < side:
        return []
    fits = whole_windows(valid, side, side).cpu().numpy()
    tile = max(TILE, side)
    found = []
    for top in range(0, H - side + 1, tile):
        for left in range(0, W - side + 1, tile):
            room = (min(top + tile, H) - side + 1, min(left + tile, W) - side + 1)
            inside = np.argwhere(fits[top : room[0], left : room[1]])
            if len(inside):
                found.append(inside + [top, left])
    return found


def _cut(
    scene: Tensor,
    tiles: list[NDArray[np.int64]],
    part: NDArray[np.int64],
    side: int,
    rng: np.random.Generator,
) -> Tensor:  # (WINDOWS, side, side, K)
    """Windows from the tiles of `part`, each tile as often."""
    found = []
    for k in range(WINDOWS):
        corners = tiles[part[k % len(part)]]
        i, j = corners[rng.integers(len(corners))]
        found.append(_random_turn(scene[i : i + side, j : j + side], rng))
    return torch.stack(found)


def _cut_blocks(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Windows from random places of the blocks, each block as often."""
    n, h, w, _ = pictures.shape
    found = []
    for k in range(WINDOWS):
        i, j = rng.integers(h - side + 1), rng.integers(w - side + 1)
        found.append(_random_turn(pictures[k % n, i : i + side, j : j + side], rng))
    return torch.stack(found)


def _window_features(bank: Bank, windows: Tensor) -> Array:
    """Of windows without their colours and contrast."""
    mean = windows.mean(dim=(1, 2), keepdim=True)
    spread = windows.std(dim=(1, 2), keepdim=True, correction=0)
    even = (windows - mean) / (spread + EVEN)
    return _rows(torch.cat([bank.features(even), structure_features(even)], dim=1))


def _block_features(bank: Bank, blocks: Tensor) -> Array:
    """Of whole blocks as they are: colours, contrasts, structure."""
    colour = torch.cat([blocks.mean(dim=(1, 2)), blocks.std(dim=(1, 2), correction=0)], dim=1)
    return _rows(torch.cat([bank.features(blocks), structure_features(blocks), colour], dim=1))


def _rows(features: Tensor) -> Array:
    rows: Array = features.double().cpu().numpy()
    return rows
