"""From a scene to what the diffusion learns: its endmembers, and every pixel's abundances."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import array_of, check_order
from hud_fast.diffusion import processes
from hud_fast.diffusion.checks import whole
from hud_fast.diffusion.classes import ClassMaps
from hud_fast.diffusion.joint import ClassChannels, JointLatent
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.windows import mended
from hud_fast.kernels import fcls
from hud_fast.scenes import Scene
from hud_fast.unmixing import linear_abundances, unmixing_summary
from hud_fast.unmixing.hysime import count_from
from hud_fast.unmixing.moments import Moments, moments
from hud_fast.unmixing.pixels import Pixels, to_host
from hud_fast.unmixing.vca import TooFewVertices, find_vertices

CPU = torch.device("cpu")
ENCODERS = ("fcls", "linear")
FEWEST, MOST = 3, 16  # when HySime decides; the paper has 9 to 16
LARGEST_D = 64  # channels; what the kernels and the network are made and tested for
VCA_RUNS = (
    8  # one run is a lottery: the residual of Indian Pines, D = 16, differs by 40 % between seeds
)


def known_count(scene: Scene) -> int | None:
    """The number of endmembers that a simulated scene was made of, or that the catalogue states."""
    from hud_fast.scenes.catalogue import CATALOGUE

    if scene.truth is not None:
        return len(scene.truth.endmembers)
    entry = CATALOGUE.get(scene.name)
    return None if entry is None else entry.endmembers


def choose_endmembers(
    scene: Scene,
    endmembers: int | NDArray[Any] | Tensor | None,
    *,
    seed: int,
    device: torch.device = CPU,
    place: str = "",
) -> NDArray[np.float32]:  # (D, C)
    """The scene's endmembers: given, or found by VCA (best of several runs by FCLS residual).

    Parameters
    ----------
    scene : Scene
        Without bad bands.
    endmembers : None, int or (D, C) array or tensor
        None takes the count that is known of the scene, else HySime's, clamped to 3 to 16.
    seed : int
        Of VCA, which looks among the pixels that are whole (`Scene.sound`).
    device : torch.device
        Where pixels are counted and searched.
    place : str
        Which of several scenes this is, for error texts.

    Warns
    -----
    UserWarning
        If pixels are kept out of the search.

    Raises
    ------
    ValueError
        If the scene has no valid pixel or one band only, if its bands are copies of one, if all its pixels are the
        same, or if `endmembers` is out of range, of the wrong shape, or not
        finite.
    """
    caller = place or "HUD.fit"
    if not scene.valid.any():
        raise ValueError(
            f"{caller}: `scene` must have valid pixels, "
            f"got {scene.H} x {scene.W} that are all masked, not finite or without data"
        )
    if scene.C == 1:
        raise ValueError(
            f"{caller}: `scene` must have two bands or more: one number a pixel cannot be unmixed, got 1 band"
        )
    word: Any = endmembers
    if isinstance(word, (list, tuple)) or hasattr(word, "__array__"):
        check_order(caller, "endmembers", word)
        endmembers = array_of(caller, "endmembers", word)
    if endmembers is None or np.ndim(endmembers) == 0:
        return _searched(scene, endmembers, seed, device, caller, place)
    given: NDArray[Any] = np.asarray(endmembers)
    if given.dtype.kind not in "fiu":
        raise TypeError(
            f"{caller}: `endmembers` must be a number or hold real numbers, got {given.dtype}"
        )
    given = given.astype(np.float32)
    if given.ndim != 2 or given.shape[1] != scene.C or not 1 <= len(given) <= LARGEST_D:
        raise ValueError(
            f"{caller}: `endmembers` must have shape (D, C) with D from 1 to {LARGEST_D} and "
            f"C = {scene.C} as in `scene`, got {given.shape}"
        )
    if not np.isfinite(given).all():
        raise ValueError(f"{caller}: `endmembers` must be finite, got NaN or infinity")
    return given


def _searched(
    scene: Scene, count: Any, seed: int, device: torch.device, caller: str, place: str
) -> NDArray[np.float32]:  # (D, C)
    """As many endmembers as are asked for, known of or counted, by VCA."""
    cube, valid = scene.on(device)
    spoilt = int((scene.valid & ~scene.sound).sum())
    # where most are, it is how the scene was made
    if spoilt and 2 * spoilt <= int(scene.valid.sum()):
        valid = torch.from_numpy(scene.sound).to(valid.device)
        are = (
            "1 pixel is saturated or has"
            if spoilt == 1
            else f"{spoilt:,} pixels are saturated or have"
        )
        warnings.warn(
            f"{are} dropped bands: kept out of the endmember search",
            UserWarning,
            stacklevel=3,
        )
    pixels_left = int(valid.sum())
    most = min(LARGEST_D, scene.C, pixels_left)
    estimated = count is None
    reader, stats = Pixels("vca", cube, valid), None
    if count is None:
        count = known_count(scene)
        if count is None:
            with _of(place):
                stats = moments(reader)
                count = count_from(stats)
            count = min(max(count, FEWEST), MOST)
        count = min(count, most)
    D = whole(caller, "endmembers", count, least=1)
    if most < D:
        raise ValueError(
            f"{caller}: `endmembers` must be at most {most} (the least of {scene.C} bands, "
            f"{pixels_left} valid pixels and {LARGEST_D}), got {D}"
        )
    with _of(place):
        stats = stats or moments(reader)  # what the count was made from serves the search, too
        try:
            spectra = _vertices(reader, stats, D, seed)
        except TooFewVertices as error:
            if not estimated or error.most < 2:
                raise
            spectra = _vertices(reader, stats, error.most, seed)  # as many as the scene has
    return spectra


def _vertices(reader: Pixels, stats: Moments, D: int, seed: int) -> NDArray[np.float32]:  # (D, C)
    none = np.empty((0, reader.C))
    places = find_vertices(
        reader, stats, D, seed=seed, best_of=VCA_RUNS, criterion="residual", kept=none
    )
    found: NDArray[np.float32] = to_host(reader.take(places))
    return found


@contextlib.contextmanager
def _of(place: str) -> Iterator[None]:
    """What another room refuses says which of several scenes it is about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if not place:
            raise
        raise type(error)(f"{place}: {error}") from error


def abundances_of(
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    *,
    encoder: str,
    device: torch.device = CPU,
) -> Tensor:  # (H, W, D) float32, on `device`
    """Abundances by exact FCLS (eq. 2) or least squares (eq. 3); NaN where a pixel is not valid."""
    if encoder not in ENCODERS:
        raise ValueError(
            f"HUD.fit: `encoder` must be one of {', '.join(ENCODERS)}, got {encoder!r}"
        )
    cube, valid = scene.on(device)
    A = torch.from_numpy(endmembers).to(device)
    abundances: Tensor = fcls(cube, A) if encoder == "fcls" else linear_abundances(cube, A)
    return abundances.float().masked_fill(~valid[..., None], torch.nan)


def falling(
    abundances: NDArray[np.float32] | Tensor,  # (..., D), NaN where masked
) -> NDArray[np.intp]:  # (D,)
    """The endmembers from the largest mean abundance to the smallest."""
    return np.argsort(-_means(torch.as_tensor(abundances)), kind="stable")


def _means(abundances: Tensor) -> NDArray[np.float64]:  # (..., D) -> (D,)
    """Over the pixels that are not masked."""
    rows = abundances.reshape(-1, abundances.shape[-1])
    means = rows[rows.isfinite().all(dim=1)].double().mean(dim=0)
    found: NDArray[np.float64] = means.cpu().numpy()
    return found


def ranks_of(abundances: NDArray[np.float32] | Tensor) -> tuple[int, ...]:
    """The rank of each endmember's mean abundance, 0 for the largest.

    Examples
    --------
    >>> ranks_of(np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]]))
    (1, 0, 2)
    """
    return tuple(int(rank) for rank in np.argsort(falling(abundances)))


def in_ranks(
    abundances: NDArray[np.float32] | Tensor,  # (..., D)
    ranks: Sequence[int],
) -> NDArray[np.intp]:  # (D,)
    """Which endmember goes to each channel, so that channel k's has rank ``ranks[k]``."""
    return falling(abundances)[list(ranks)]


@dataclass(frozen=True, eq=False)
class PreparedScene:
    """A scene as the diffusion sees it, and what it takes to come back: tensors on the training's device."""

    scene: Scene  # without bad bands
    endmembers: NDArray[np.float32]  # (D, C)
    abundances: Tensor  # (H, W, D), NaN at masked pixels
    valid: NDArray[np.bool_]  # (H, W), on the host: windows are listed there
    filled: NDArray[
        np.bool_
    ]  # (H, W), pixels of z that hold their nearest valid one's, see `windows`
    latent: LatentSpace | JointLatent
    z: Tensor  # (D, H, W), of a scene with classes (D + K, H, W)
    classes: ClassMaps | None = None

    @classmethod
    def of(
        cls,
        scene: Scene,
        endmembers: NDArray[np.float32],  # (D, C)
        *,
        encoder: str,
        raw_latent: bool,
        ranks: Sequence[int] | None = None,
        classes: ClassMaps | None = None,
        device: torch.device = CPU,
    ) -> PreparedScene:
        """Unmix a scene and project; `ranks` orders its endmembers by mean abundance, None leaves them.

        `classes` become channels of z beside the abundances.
        """
        A = endmembers

        def unmixed() -> Tensor:
            X = abundances_of(scene, A, encoder=encoder, device=device)
            return X if processes.count() == 1 else X.cpu()

        # other machines would differ in the last bits
        X = processes.on_first(unmixed).to(device)
        if ranks is not None:
            order = in_ranks(X, ranks)
            A, X = A[order], X[..., torch.from_numpy(order).to(device)].contiguous()
        # a pixel can also be lost here: an encoder gives NaN for what it cannot solve
        valid = X.isfinite().all(dim=-1)
        known = valid.cpu().numpy()
        maps, filled = mended(X, known)
        maps = maps.nan_to_num(1 / len(A))
        if classes is None:
            latent = LatentSpace.of(X, valid=valid, raw=raw_latent)
            return cls(scene, A, X, known, filled, latent, latent.encode(maps)[0])
        classes = classes.to(device)
        joint = JointLatent.of(X, classes.shares, valid=valid, raw=raw_latent)
        shares = mended(classes.shares, known)[0].nan_to_num(1 / classes.K)
        return cls(scene, A, X, known, filled, joint, joint.encode(maps, shares)[0], classes)

    @property
    def class_channels(self) -> ClassChannels | None:
        """What a training needs to know of the classes."""
        classes = self.classes
        if classes is None:
            return None
        return ClassChannels.of(classes.shares, classes.certainty(), device=self.z.device)

    @property
    def prior(self) -> Prior:
        """What the network is told of the scene."""
        valid = torch.from_numpy(self.valid).to(self.z.device)
        return self.latent.prior(self.z, valid)

    def unmixing(self) -> dict[str, float | int]:
        """How well endmembers and abundances explain the scene."""
        cube, _ = self.scene.on(self.z.device)
        return unmixing_summary(
            cube,
            self.endmembers,
            self.abundances,
            mask=self.valid,
            zeros_are_data=self.scene.zeros_are_data,
        )

    def facts(self, encoder: str) -> dict[str, Any]:
        """What a checkpoint of a training with this scene must agree with."""
        return {
            "scene size": list(self.valid.shape),
            "valid pixels": int(self.valid.sum()),
            "endmembers": len(self.endmembers),
            "encoder": encoder,
            "raw_latent": self.latent.raw,
            "mean abundances": _means(self.abundances).tolist(),
        }
