"""Blocks looked up in every orientation that their shape allows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hud_fast.kernels.windows import SearchScene, coordinates, mixed_basis, similarities
from hud_fast.metrics._nearest_windows import nearest_keys, shared_basis
from hud_fast.metrics._search import progress_step
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.samples import Spectra
from hud_fast.unmixing.pixels import BLOCK_VALUES


def turns_of(h: int, w: int) -> list[int]:
    """The orientations that keep a block's shape: all 8 of a square, 4 of another rectangle."""
    return list(range(8)) if h == w else [0, 2, 4, 6]


def turned(blocks: Tensor, k: int) -> Tensor:  # (n, h, w, C)
    """Orientation k of 8: k % 4 quarter turns, then columns reversed where k >= 4."""
    blocks = blocks.rot90(k % 4, (1, 2))
    return (blocks.flip(2) if k >= 4 else blocks).contiguous()


@dataclass(frozen=True, eq=False)
class Looked:
    """Blocks to look up, as spectra or as what they are mixed from."""

    values: Tensor  # (n, h, w, C), or (n, h, w, D) abundances
    endmembers: Tensor | None = None  # (D, C) float64, of abundances

    def __len__(self) -> int:
        return len(self.values)

    def spectra(self, i: int) -> Tensor:  # (1, h, w, C)
        """One block's."""
        one = self.values[i : i + 1]
        return one if self.endmembers is None else one.double() @ self.endmembers

    def keys(self, few: slice, scene: SearchScene) -> Tensor:  # (m, h, w, r or C)
        """What the scene is searched by."""
        part = self.values[few]
        if scene.basis is None:
            return part
        basis = scene.basis if self.endmembers is None else self.endmembers @ scene.basis
        return coordinates(part, basis)[0]

    def way(
        self,
        scene: Spectra,  # (H, W, C)
        endmembers: Tensor | None,  # (D', C)
    ) -> tuple[Tensor | None, SearchScene]:  # (C, r)
        """A basis that holds the blocks and all mixtures of `endmembers`, and a way through it or a like one.

        None, and a way in all bands, where only all bands hold them.
        """
        searches = scene.searches
        if self.endmembers is not None:
            basis, _ = mixed_basis(self.endmembers)
            way = searches.by(basis)
            if endmembers is None or way.holds(endmembers):
                return basis, way
            both = [part / part.abs().max() for part in (self.endmembers, endmembers.double())]
            basis, _ = mixed_basis(torch.cat(both))
            return basis, searches.by(basis)
        pixels = self.values.reshape(-1, self.values.shape[-1])
        if endmembers is not None:
            pixels = torch.cat([pixels, endmembers.to(pixels.dtype)])
        found = shared_basis(pixels)
        known = None if found is None else searches.holding(pixels)
        return found, known or searches.by(found)


def nearest_in_turns(
    blocks: Looked,
    scene: SearchScene,
    turns: list[int],
    progress: Progress | None,
    apart: Tensor | None = None,  # (n, 4) int64
) -> tuple[Tensor, Tensor, Tensor]:  # (n,) float64, (n, 2) int64, (n,) int64
    """Best window over all orientations, the first of equals; `apart` as of `kernels.windows.prepare`."""
    n, h, w, _ = blocks.values.shape
    T, width = len(turns), scene.keys.shape[-1]
    step = max(2, BLOCK_VALUES // (h * w * width * T))
    if progress is not None:
        step = min(step, progress_step(n, 2))
    value, position, turn = [], [], []
    for first in range(0, n, step):
        few = slice(first, min(first + step, n))
        keys = blocks.keys(few, scene)
        # One block's orientations side by side: the same windows do not count for them.
        each = torch.stack([turned(keys, k) for k in turns], 1).flatten(0, 1)
        places = None if apart is None else apart[few].repeat_interleave(T, dim=0)
        found = nearest_keys(each, scene, apart=places)
        best = found.value.reshape(-1, T).argmax(dim=1)  # (m,)
        pick = torch.arange(len(best), device=best.device)
        at = found.position.reshape(-1, T, 2)[pick, best]
        for i, k in enumerate(best.cpu().tolist()):
            upright = turned(blocks.spectra(first + i), turns[k])
            value.append(similarities(upright, at[i : i + 1], scene.values, "pixel"))
        position.append(at)
        turn.append(torch.tensor(turns, device=best.device)[best])
        if progress is not None:
            progress(few.stop, n)
    return torch.cat(value), torch.cat(position), torch.cat(turn)
