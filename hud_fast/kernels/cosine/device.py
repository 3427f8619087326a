"""The pruned cosine search in tiles (csrc/cosine/device_search.h): its tensors, and what launches it.

The same code prepares a search on a GPU and its emulation on the CPU: everything here is a torch operation on the
reference's device, and a `Launcher` calls the kernels. Building an index looks at values (which basis, how many axes);
searching one does not, so a CUDA graph can hold it.

Keys and bounds are those of csrc/cosine/keys.h and csrc/cosine/device_bounds.h: any orthonormal basis and any order
of rows and queries give the same bits; they decide the speed only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from hud_fast.kernels._backend import capturing, ran
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.basis import Basis, endmember_basis, query_basis, sample_rows
from hud_fast.kernels.cosine.launch import Launcher, inverse_norms, most_depth
from hud_fast.kernels.cosine.spot_check import EVERY_QUERIES, check_cosines

TILE: int = C.cosine_tile
_LEADING = 16  # coordinates that boxes are tested in beside the rest's length
_CODE_DIMS, _CODE_BITS = 5, 12  # queries are ordered by so many coordinates of so many bits
_PIECE = 1 << 16  # rows whose float64 unit rows are formed at once
_CHUNK = 1 << 22  # queries searched at once


def mean_unit(rows: Tensor, inverse: Tensor, piece: int) -> Tensor:  # (C,) float64
    """Mean unit row of those that take part."""
    used = inverse > 0
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    for part, factor in zip(rows.split(piece), inverse.split(piece), strict=True):
        total += torch.where(factor[:, None] > 0, part.double() * factor[:, None], 0.0).sum(0)
    return total / used.sum().clamp(min=1)


@dataclass(frozen=True)
class Keys:
    """What turns spectra into keys."""

    mean: Tensor  # (C,) float64
    basis: Basis

    @property
    def dims(self) -> int:
        return self.basis.columns.shape[1] + 1

    def of(self, rows: Tensor, inverse: Tensor, piece: int) -> tuple[Tensor, Tensor]:
        """Keys (n, dims) float32, and what boxes are tested in, (n, <= 17).

        A key is the coordinates from the mean and the length of what the basis leaves out. Boxes are tested in all of
        a short key, else in its leading numbers and the length of the others.
        """
        columns, mean = self.basis.columns, self.mean
        shift = mean @ columns
        keys = torch.empty(len(rows), self.dims, device=rows.device)
        short = self.dims <= _LEADING + 1
        tests = keys if short else torch.empty(len(rows), _LEADING + 1, device=rows.device)
        for first in range(0, len(rows), piece):
            part = slice(first, first + piece)
            factor = inverse[part, None]
            used = factor > 0
            unit = torch.where(used, rows[part].double() * factor, 0.0)
            away = torch.where(used, unit - mean, 0.0)
            z = away @ columns
            if self.basis.about_zero:
                rest = unit.square().sum(1) - torch.where(used, z + shift, 0.0).square().sum(1)
            else:
                rest = away.square().sum(1) - z.square().sum(1)
            keys[part, :-1], keys[part, -1] = z, rest.clamp(min=0).sqrt()
            if not short:
                tests[part, :_LEADING] = keys[part, :_LEADING]
                tests[part, -1] = keys[part, _LEADING:].double().square().sum(1).sqrt()
        return keys, tests


def without_copies(rows: Tensor, keys: Tensor, used: Tensor, piece: int) -> Tensor:  # (n,) bool
    """`used` without rows that repeat an earlier one band for band: flat and filled regions."""
    if len(rows) < 2:
        return used
    odd = (torch.arange(keys.shape[1], device=keys.device) * 2 + 1) * 0x1E3779B97F4A7C15
    bits = keys.view(torch.int32).split(piece)
    mixed = torch.cat([(part.long() * odd).sum(1) for part in bits])
    mixed, order = mixed.sort(stable=True)  # equal rows by their place
    kept = used.clone()
    for first in range(0, len(rows) - 1, piece):
        a, b = order[first : first + piece], order[first + 1 : first + piece + 1]
        a = a[: len(b)]
        same = (rows[a] == rows[b]).all(1) & (
            mixed[first : first + len(b)] == mixed[first + 1 : first + 1 + len(b)]
        )
        kept[b] = kept[b] & ~(same & used[a])
    return kept


def kd_tiles(keys: Tensor, used: Tensor) -> Tensor:  # (tiles, TILE) int32
    """Rows in tiles of neighbours: halves by the widest coordinate, again and again; -1 where a tile has no more."""
    count, device = len(keys), keys.device
    levels = max(0, -(-count // TILE) - 1).bit_length()
    leaf = -(-count // (1 << levels))
    total = leaf << levels
    order = torch.full((1, total), -1, dtype=torch.int64, device=device)
    order[0, :count] = torch.where(used, torch.arange(count, device=device), -1)
    for _ in range(levels):
        there = order >= 0
        part = keys[order.clamp(min=0)]  # (segments, length, dims)
        low = torch.where(there[..., None], part, torch.inf).amin(1)
        high = torch.where(there[..., None], part, -torch.inf).amax(1)
        widest = (high - low).argmax(1)  # of an empty segment any
        along = part.gather(2, widest[:, None, None].expand(-1, order.shape[1], 1))[..., 0]
        along = torch.where(there, along, torch.inf)  # what takes no part gathers at the end
        order = order.gather(1, along.argsort(1)).reshape(2 * len(order), -1)
    tiles = torch.full((len(order), TILE), -1, dtype=torch.int32, device=device)
    tiles[:, : order.shape[1]] = order
    return tiles


class TileIndex:
    """Reference rows in packed tiles, ready for any number of searches."""

    def __init__(
        self,
        reference: Tensor,  # (P, C) contiguous
        inverse: Tensor,  # (P,) float64: 1 / norm; 0 or NaN where a row takes no part
        keys: Keys,
        launcher: Launcher,
        piece: int = _PIECE,
    ) -> None:
        self.reference, self.inverse, self.keys, self.launcher = reference, inverse, keys, launcher
        self.piece, self.dims = piece, keys.dims
        self.depth = -(-self.dims // 16) * 16
        used = inverse > 0
        known, tests = keys.of(reference, inverse, piece)
        self.tested = tests.shape[1]
        taking = without_copies(reference, known, used, piece)
        self.rows = kd_tiles(tests[:, :_LEADING], taking)
        tiles = len(self.rows)
        device = reference.device
        self.packed = torch.empty(
            tiles, C.cosine_tile_words(self.depth), dtype=torch.int32, device=device
        )
        self.boxes = torch.empty(self.tested, 2, tiles, device=device)
        launcher.pack(
            {
                "keys": known,
                "tests": tests,
                "inverse": inverse,
                "row": self.rows,
                "tiles": tiles,
                "dims": self.dims,
                "depth": self.depth,
                "tested": self.tested,
                "packed": self.packed,
                "boxes": self.boxes,
            }
        )
        # Where the queries' order takes its cells from: cubes, so that flat directions take few bits.
        lead = tests[:, :_CODE_DIMS]
        self.low = torch.where(used[:, None], lead, torch.inf).amin(0)
        high = torch.where(used[:, None], lead, -torch.inf).amax(0)
        self.cell = ((high - self.low).amax() / (1 << _CODE_BITS)).clamp(min=1e-30)
        self.spread = _spread(lead.shape[1]).to(device)
        self.any = used.any()
        self.first = torch.where(self.any, used.to(torch.uint8).argmax(), -1)

    def order(self, tests: Tensor, inverse: Tensor) -> Tensor:  # (n,) int64
        """Queries along a Morton curve; those that take no part last."""
        at = ((tests[:, : len(self.low)] - self.low) / self.cell).nan_to_num(0, 0, 0)
        at = at.clamp(0, (1 << _CODE_BITS) - 1).long()
        code = torch.zeros(len(tests), dtype=torch.int64, device=tests.device)
        for k in range(at.shape[1]):
            code |= self.spread[at[:, k]] << k
        last = torch.iinfo(torch.int64).max
        return torch.where(inverse > 0, code, last).argsort()

    def search(
        self, query: Tensor, work: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
        """The largest cosine of each query and its lowest row; nothing is read back from the device."""
        value, index = self.prepare(query)
        inverse = self._inverse(query, value, index)
        if len(query):
            keys, tests = self.keys.of(query, inverse, self.piece)
            order = self.order(tests, inverse)
            self._launch(query, inverse, keys, tests, order, value, index, work)
        return value, index

    def prepare(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Where the results go."""
        value = torch.empty(len(query), dtype=torch.float64, device=query.device)
        return value, torch.empty(len(query), dtype=torch.int64, device=query.device)

    def _inverse(self, query: Tensor, value: Tensor, index: Tensor) -> Tensor:
        """Inverse norms, and the results of queries that take no part: zero ones 0, non-finite ones NaN."""
        inverse = inverse_norms(query, self.launcher)
        bad = inverse.isnan() | ~self.any
        value.zero_().masked_fill_(bad, torch.nan)
        index.copy_(torch.where(bad, -1, self.first))
        return inverse

    def _launch(
        self,
        query: Tensor,
        inverse: Tensor,
        keys: Tensor,
        tests: Tensor,
        order: Tensor,
        value: Tensor,
        index: Tensor,
        work: Tensor | None,
    ) -> None:
        self.launcher.search(
            {
                "reference": self.reference,
                "reference_inverse": self.inverse,
                "packed": self.packed,
                "boxes": self.boxes,
                "tiles": len(self.rows),
                "dims": self.dims,
                "depth": self.depth,
                "tested": self.tested,
                "query": query,
                "query_inverse": inverse,
                "keys": keys,
                "tests": tests,
                "order": order,
                "value": value,
                "index": index,
                "work": work,
            }
        )


@lru_cache
def _spread(dims: int) -> Tensor:  # (2^bits,) int64
    """Each number's bits, `dims` apart."""
    at = torch.arange(1 << _CODE_BITS)
    out = torch.zeros_like(at)
    for bit in range(_CODE_BITS):
        out |= (at >> bit & 1) << (bit * dims)
    return out


def choose_keys(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    inverse: Tensor,  # (P,)
    mean: Tensor,  # (C,)
    launcher: Launcher,
    plan: str = "auto",
    endmembers: Tensor | None = None,  # (D, C) float64
) -> Keys:
    """Few numbers where the queries lie in the span of few directions, else all bands turned to their principal axes.

    All bands, as the tensor cores score them at little more than what fewer would cost, and then the distances are
    exact to rounding; keys longer than a block can hold are cut, which the bounds allow for.
    """
    known = sample_rows(reference, inverse)
    limit = most_depth(launcher.shared) - 1
    if endmembers is not None:
        basis = endmember_basis(endmembers, known, mean)
        if basis.columns.shape[1] <= limit:
            return Keys(mean, basis)
    elif plan in ("auto", "span"):
        part = query[:: max(1, len(query) // 4096)].contiguous()
        found = query_basis(sample_rows(part, inverse_norms(part, launcher)), known, mean)
        if found is not None and found.columns.shape[1] <= limit:
            return Keys(mean, found)
        if plan == "span":
            raise ValueError("the queries do not lie in the span of few directions")
    centred = known - mean
    axes = torch.linalg.eigh(centred.T @ centred)[1].flip(1)
    r = min(reference.shape[1], limit)
    if plan.startswith("scene "):
        r = min(r, int(plan.removeprefix("scene ")))
    return Keys(mean, Basis(axes[:, :r].contiguous(), about_zero=False))


def least_bytes(rows: int, bands: int) -> int:
    """Scratch that a search on a GPU takes at least: packed tiles, keys and order of the reference, a few queries."""
    longest: int = C.cosine_most_depth
    depth = min(bands // 16 * 16 + 16, longest)
    tiles = (2 * rows + TILE) * (2 * depth + 24)
    building = rows * (4 * depth + 68 + 240)
    samples = 40 * bands * TILE + 8 * bands * (3 * 4096 + 4 * bands)
    return tiles + building + samples + (1 << 20)


def query_bytes(depth: int) -> int:
    """Bytes of a search for each query of a chunk: key, tested numbers, inverse norm, cells, order, the sort."""
    return 4 * depth + 68 + 8 + 80 + 8 + 48


class TileSearch:
    """An index made for some queries, asked for all parts of them."""

    def __init__(
        self,
        query: Tensor,  # (Q, C) that the choice is made for
        reference: Tensor,  # (P, C)
        launcher: Launcher,
        *,
        limit: int | None = None,
        plan: str = "auto",
        endmembers: Tensor | None = None,
    ) -> None:
        rows, bands = reference.shape
        self.reference = reference.contiguous()
        spare = 1 << 62 if limit is None else max(0, limit - least_bytes(rows, bands))
        piece = max(TILE, min(_PIECE, spare // 2 // (40 * bands)))
        inverse = inverse_norms(self.reference, launcher)
        mean = mean_unit(self.reference, inverse, piece)
        keys = choose_keys(query, self.reference, inverse, mean, launcher, plan, endmembers)
        self.index = TileIndex(self.reference, inverse, keys, launcher, piece)
        self.piece = piece  # rows whose bands are formed at once
        self.chunk = max(TILE, min(_CHUNK, spare // 2 // query_bytes(self.index.depth)))

        # answers compared with brute force, and given since
        self._looks, self._since = 0, EVERY_QUERIES

    def run(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Search some of the queries. RuntimeError where brute force contradicts an answer."""
        query = query.contiguous()
        if len(query) <= self.chunk:
            found = self.index.search(query)
        else:
            parts = [self.index.search(part) for part in query.split(self.chunk)]
            found = torch.cat([f[0] for f in parts]), torch.cat([f[1] for f in parts])
        if self._since >= EVERY_QUERIES and len(query) and not capturing(query):
            check_cosines(query, self.reference, *found, self.piece, self._looks)
            self._looks, self._since = self._looks + 1, 0
        self._since += len(query)
        ran(self.index.launcher.name)
        return found
