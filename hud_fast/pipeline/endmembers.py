"""Which endmembers a scene is unmixed with: found in it, the user's own, or some of the user's and the rest found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.options import ModelOptions

if TYPE_CHECKING:
    import torch

    from hud_fast.scenes import Library, Scene


@dataclass(frozen=True, eq=False)
class Endmembers:
    """Endmembers with their names; the first `given` ones are the user's, the others pixels of the scene."""

    spectra: NDArray[np.float32]  # (D, C)
    names: tuple[str, ...]
    given: int = 0

    def renamed(self, names: dict[int, str]) -> tuple[str, ...]:
        """The names, with other ones for those that were found in the scene."""
        return tuple(
            names.get(d, name) if d >= self.given else name for d, name in enumerate(self.names)
        )


def choose(
    scene: Scene, options: ModelOptions, count: int | None, device: torch.device
) -> Endmembers:
    """The endmembers that the options ask for; `count` is their number, None: the scene's own.

    Raises
    ------
    InputError
        A library cannot be read, does not cover the scene's bands, is in another unit or too large.
    """
    from hud_fast.diffusion.preparation import choose_endmembers

    options.check_endmembers()
    if options.library is not None:
        with user_input("--endmembers"):
            library = library_for(scene, options.library)
        return Endmembers(library.spectra.astype(np.float32), library.names, library.D)
    if options.keep is None:
        spectra = choose_endmembers(scene, count, seed=options.seed, device=device)
        return Endmembers(spectra, numbered(len(spectra)))
    assert count is not None  # checked by `check_endmembers`
    with user_input("--keep"):
        kept = library_for(scene, options.keep)
    if count <= kept.D:
        raise InputError(
            f"--endmembers must be more than the {kept.D} that --keep gives, the rest is found, got {count}"
        )
    return _with_kept(scene, kept, count, options.seed, device)


def library_for(scene: Scene, path: str) -> Library:
    """A file or folder of spectra, brought to the scene's bands, in its unit, not too many for them."""
    from hud_fast.scenes import read_library
    from hud_fast.unmixing import check_count_of, same_unit

    library = read_library(path).resample(scene)
    check_count_of("unmix", library.D, scene.C)
    same_unit("unmix", scene.valid_pixels, library.spectra, scene.scale)
    return library


def _with_kept(
    scene: Scene, kept: Library, count: int, seed: int, device: torch.device
) -> Endmembers:
    """The kept spectra, and the vertices of the scene beside them (see `vca`); the best of as many runs as ever."""
    from hud_fast.diffusion.preparation import VCA_RUNS
    from hud_fast.unmixing import vca

    cube, valid = scene.on(device)
    with user_input("--keep"):
        spectra: Any = vca(
            cube,
            count,
            seed=seed,
            best_of=VCA_RUNS,
            criterion="residual",
            mask=valid,
            keep=kept.spectra,
        )
    names = (*kept.names, *numbered(count)[kept.D :])
    return Endmembers(spectra.cpu().numpy(), names, kept.D)


def numbered(count: int) -> tuple[str, ...]:
    """Names for spectra that have none.

    Examples
    --------
    >>> numbered(2)
    ('endmember_1', 'endmember_2')
    """
    return tuple(f"endmember_{d + 1}" for d in range(count))
