r"""New layouts of the scene's own patches, sewn together at random: alone, without training, or after a network.

A layout says for each pixel of a new block which pixel of the scene stands there. It grows patch by patch, row by
row. What is known of a new patch is where it overlaps the patches before it; the scene's own windows tell what stands
beside that. With q the known pixels, c_k the same pixels of candidate k (a window in one of the eight turns), in the
principal components of the log spectra (each over the square root of its standard deviation: small ones count, but
less), the candidate is drawn from

    P(k) ~ w_k exp( -d_k / (2 T d_min) ),     d_k = |c_k - q|^2,  d_min the least of them

so it is non-parametric sampling (Efros & Leung 1999) by patches, sewn along the cheapest seam (image quilting, Efros &
Freeman 2001). Every candidate is compared, exactly; the best `SHORTLIST` again in float64, so that samples do not
depend on how a product was split.

Three rules are ours. No candidate may overlap, in any turn, the place in the scene that a neighbour came from, nor
lie within half a patch of any other: otherwise the best continuation is the scene's own, or its mirror image, and a
block is a copy or a kaleidoscope. So no piece of a block that stands in the scene as it is can be larger than a
patch (where a scene is so small that the rules leave no candidate, they do not hold). And since uniform ground fits
to everything and rough ground to little, a chain of best fits would end in uniform ground: the weights w_k are set
before, in a few rounds of trial blocks, so that all parts of the scene are used about as often as they stand in it
(`patch_weights`).

A guide, the abundance maps of a network's sample, adds to d_k the distance from what it shows of the patch, in means
over 4 x 4 pixels, times `GUIDANCE`: the network then says what stands where, and patches how it looks. (A network
that two processors train in minutes knows the first and not the second: its fields have grain and no straight borders.)

Everything in a layout is taken from the scene; only where it stands is new. What a pixel is, its abundances and
spectrum, is a real pixel's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._cores import Crew, cores_for
from hud_fast.diffusion.crops import TURNS, turned_offsets
from hud_fast.diffusion.seeds import Stream, generator
from hud_fast.diffusion.windows import free_windows, mended, training_windows
from hud_fast.kernels import log_project, simplex_softmax
from hud_fast.unmixing.components import LogComponents

Tick = Callable[[int], None]

PATCH = 12  # pixels a side: 14 % of a 32 x 32 block, less what the seams cut away, may be copied in one piece
OVERLAP = 4
COMPONENTS = 8
LEAST_SHARE = 1e-4  # of the variance, of the last component
TEMPERATURE = 0.01  # T: candidates within a few hundredths of the best are as good
SHORTLIST = 128
MOST_CANDIDATES = 20_000  # windows, drawn at random in a larger scene
FEWEST = 2  # candidates
LABELLED_GAPS = 0.3  # of a window, may be filled where a scene has classes
CELL = 4  # pixels: what a guide says of shapes smaller than this does not count
GUIDANCE = 0.06  # weight of the guide's squared distance beside the overlap's
GROUP = 16  # samples made at a time: more hold more distances in memory
SHARE = 4  # of them, what is worth a core of its own


@dataclass(frozen=True, eq=False)
class Patches:
    """A scene as a source of layouts.

    Attributes
    ----------
    abundances : Tensor, (H W, D) float32
        Of the scene's pixels, on the simplex; NaN where masked.
    looks : LogComponents
        From abundances to what they look like.
    pictures : Tensor, (H W, K) float32
        What the pixels look like; 0 where masked.
    width : int
        W.
    corners : Tensor, (N, 2) int64
        Row and column of the candidates' first pixels.
    log_weights : Tensor, (N,) float32
        ln w.
    seed : int
        Of the balancing, and of which windows are candidates.
    shares : Tensor, (H W, K) float32, optional
        Of the pixels' classes (`classes`), on the simplex; 0 where masked.
    with_gaps : bool
        Whether windows with some missing pixels are candidates, however many there are without.
    """

    abundances: Tensor
    looks: LogComponents
    pictures: Tensor
    width: int
    corners: Tensor
    log_weights: Tensor
    seed: int
    shares: Tensor | None = None  # (H W, K)
    with_gaps: bool = False

    @classmethod
    def of(
        cls,
        abundances: NDArray[np.float32] | Tensor,  # (H, W, D), NaN where masked
        endmembers: NDArray[np.float32],  # (D, C)
        *,
        seed: int,
        log_weights: Tensor | None = None,
        with_gaps: bool = False,
    ) -> Patches:
        """The patches of a scene, on the device of `abundances`, all weights one where they are not given.

        With `with_gaps` also windows with some missing pixels near valid ones (`LABELLED_GAPS`), however many there
        are without: a class that lies in narrow fields between gaps must not be lost.

        Raises
        ------
        ValueError
            If the scene has no `PATCH` x `PATCH` window without masked pixels.
        """
        known_maps = torch.as_tensor(abundances)
        device, kept = known_maps.device, known_maps.isfinite().all(dim=-1)
        H, W = kept.shape
        fits = min(H, W) >= PATCH
        # windows are listed on the host
        valid = kept.cpu().numpy()
        corners = free_windows(valid, PATCH) if fits else np.empty((0, 2), np.int64)
        if fits and (with_gaps or len(corners) < FEWEST) and not valid.all():
            # where there are none but for gaps, a pixel in one is its nearest neighbour
            known_maps, filled = mended(known_maps, valid)
            kept = kept | torch.from_numpy(filled).to(device)
            most = LABELLED_GAPS if with_gaps else None
            corners = training_windows(valid, PATCH, filled, all_of=most)
        if len(corners) < FEWEST:
            raise ValueError(
                f"HUD.fit: `scene` must hold two {PATCH} x {PATCH} windows without masked pixels, the patches that "
                f"layouts are made of, got {H} x {W} pixels with {len(corners)}"
            )
        if len(corners) > MOST_CANDIDATES:
            rng = np.random.default_rng([seed, int(Stream.LAYOUT)])
            corners = corners[np.sort(rng.choice(len(corners), MOST_CANDIDATES, replace=False))]
        # least squares leaves the simplex: then as the network would see and give it (eqs. 4 and 6)
        inside = bool((known_maps.nan_to_num() >= 0).all())
        maps = known_maps.reshape(H * W, -1)
        maps = maps if inside else simplex_softmax(log_project(maps, dim=-1), dim=-1)
        kept = kept.flatten()
        known = maps[kept]
        spectra = torch.from_numpy(endmembers).to(device)
        looks = LogComponents.of(known, spectra, most=COMPONENTS, least_share=LEAST_SHARE)
        pictures = torch.zeros(H * W, len(looks.spread), device=device)
        pictures[kept] = _pictures(looks, known)
        weights = torch.zeros(len(corners)) if log_weights is None else log_weights
        places = torch.from_numpy(corners).to(device)
        return cls(maps, looks, pictures, W, places, weights.to(device), seed, with_gaps=with_gaps)

    @property
    def device(self) -> torch.device:
        """Where layouts are made."""
        return self.pictures.device

    def to(self, device: torch.device) -> Patches:
        """The same on a device."""
        names = ["abundances", "looks", "pictures", "corners", "log_weights"]
        names += [] if self.shares is None else ["shares"]
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def with_classes(self, shares: Tensor) -> Patches:  # (H, W, K), NaN where masked
        """With the classes of the scene's pixels; of a pixel that was filled, its nearest one's."""
        known = shares.isfinite().all(dim=-1).cpu().numpy()
        filled = mended(shares, known)[0].nan_to_num().flatten(0, 1)
        return replace(self, shares=filled.to(self.device))

    @property
    def windows(self) -> Tensor:  # (N, PATCH^2)
        """Numbers of the candidates' pixels."""
        return _windows(self.corners, self.width)

    def layouts(
        self,
        samples: range,
        size: tuple[int, int],  # (h, w)
        *,
        seed: int,
        guides: Tensor | None = None,  # (n, h, w, D)
        guide_shares: Tensor | None = None,  # (n, h, w, K)
        progress: Tick | None = None,
        stream: Stream = Stream.LAYOUT,
    ) -> Tensor:  # (n, h, w) int64, numbers of the scene's pixels
        """New layouts; layout i depends on the patches, `seed`, `stream`, i, `size` and guide i only.

        Guides are abundance maps, a network's: what they show from afar, layouts show too; with the shares of classes
        that it gave them, the same of these.

        `progress` is called with the number of patches laid since its last call, summed over samples.
        """
        pictures = None if guides is None else _pictures(self.looks, guides)
        shown_too = None
        if pictures is not None and guide_shares is not None and self.shares is not None:
            # as far apart as two pixels are in looks, where their classes are others
            weight = float(self.pictures.square().sum(dim=1).mean().sqrt())
            shown_too = weight * self.shares
            pictures = torch.cat([pictures, weight * guide_shares.to(pictures)], dim=-1)
        search = _Search(self, guided=guides is not None, shown_too=shown_too)
        cores = cores_for(-(-len(samples) // SHARE)) if self.device.type == "cpu" else 1
        crew = Crew(cores, 1 if cores > 1 else None)
        group = max(SHARE, GROUP // crew.count)
        telling = threading.Lock()

        def told(count: int) -> None:
            if progress is not None:
                with telling:
                    progress(count)

        def laid(first: int) -> Tensor:
            draws = [generator(seed, stream, i) for i in samples[first : first + group]]
            shown = None if pictures is None else pictures[first : first + group]
            return self._group(search, draws, size, shown, told)

        return torch.cat(list(crew.map(laid, range(0, len(samples), group))))

    def patches_of(self, size: tuple[int, int]) -> int:
        """How many patches a layout of (h, w) takes."""
        rows, columns = (_count(side) for side in size)
        return rows * columns

    def _group(
        self,
        search: _Search,
        draws: list[torch.Generator],
        size: tuple[int, int],
        guides: Tensor | None,  # (n, h, w, K)
        progress: Tick,
    ) -> Tensor:  # (n, h, w)
        n, step, (h, w) = len(draws), PATCH - OVERLAP, size
        # a square that is turned at the end keeps its shape; another is laid as it will be
        rows, columns = _count(h), _count(w)
        whole: dict[str, Any] = {"dtype": torch.int64, "device": self.device}
        field = torch.zeros(n, OVERLAP + rows * step, OVERLAP + columns * step, **whole)
        chosen = torch.zeros(rows, columns, n, **whole)
        ways = [_Way.drawn(field.shape[1:], size, draw) for draw in draws]
        targets = None
        if guides is not None:
            room = field.shape[1:]
            targets = torch.stack(
                [way.spread(g, room) for way, g in zip(ways, guides, strict=True)]
            )
        for r in range(rows):
            for c in range(columns):
                y, x = r * step, c * step
                here = field[:, y : y + PATCH, x : x + PATCH]
                target = None if targets is None else targets[:, y : y + PATCH, x : x + PATCH]
                if r == c == 0 and target is None:
                    window, turn = search.first(draws)
                else:
                    taken = _neighbours(chosen, r, c)
                    window, turn = search.next(here, r > 0, c > 0, taken, draws, target)
                chosen[r, c] = window
                new = search.pixels(window, turn)  # (n, PATCH, PATCH)
                use = torch.ones(n, PATCH, PATCH, dtype=torch.bool, device=self.device)
                if r or c:
                    apart = (self.pictures[new] - self.pictures[here]).square().sum(dim=-1)
                    if c:
                        use[:, :, :OVERLAP] &= beyond_seam(apart[:, :, :OVERLAP])
                    if r:
                        across = beyond_seam(apart[:, :OVERLAP].transpose(1, 2))
                        use[:, :OVERLAP] &= across.transpose(1, 2)
                here.copy_(torch.where(use, new, here))
                progress(n)
        return torch.stack([way.cut(one) for way, one in zip(ways, field, strict=True)])


class _Search:
    """Candidates compared with what is known of a patch."""

    def __init__(
        self,
        patches: Patches,
        *,
        guided: bool = False,
        shown_too: Tensor | None = None,  # (H W, k): what a guide shows beside pictures
    ) -> None:
        self.patches = patches
        self.windows = patches.windows  # (N, PATCH^2)
        pictures = patches.pictures
        self.values = pictures[self.windows].flatten(1)  # (N, PATCH^2 K)
        self.turns = torch.from_numpy(turned_offsets(PATCH, PATCH)).to(
            patches.device
        )  # (8, PATCH^2)
        norms = pictures.square().sum(dim=1)[self.windows]  # (N, PATCH^2)
        self.known, self.norms = {}, {}
        for above, left in ((False, False), (True, False), (False, True), (True, True)):
            known = _overlap(above, left).to(patches.device)
            self.known[above, left] = known
            # of the candidate's pixels that a turn puts on the known ones
            self.norms[above, left] = torch.stack(
                [norms[:, turn[known]].sum(1) for turn in self.turns]
            )
        gap = (pictures[self.windows[:, 1:]] - pictures[self.windows[:, :-1]]).square().sum(-1)
        self.cells: Tensor | None = None
        if guided:
            shown = pictures if shown_too is None else torch.cat([pictures, shown_too], dim=1)
            blocks = shown[self.windows].view(-1, PATCH, PATCH, shown.shape[1])
            self.cells = _cells(blocks).flatten(1) * GUIDANCE**0.5
            self.cell_norms = self.cells.square().sum(dim=1)
            turns = turned_offsets(PATCH // CELL, PATCH // CELL)
            self.cell_turns = torch.from_numpy(turns).to(patches.device)
        # half of two neighbours' distance: what fits better than that is no better
        self.least = 1e-6 + 0.5 * float(gap.median())

    def pixels(self, window: Tensor, turn: Tensor) -> Tensor:  # (n,), (n,) -> (n, PATCH, PATCH)
        return self.windows[window].gather(1, self.turns[turn]).view(-1, PATCH, PATCH)

    def first(self, draws: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        # drawn on the host: the same windows on any device
        weights = self.patches.log_weights.cpu().double().exp()
        window = torch.stack([torch.multinomial(weights, 1, generator=g)[0] for g in draws])
        turn = torch.stack([torch.randint(TURNS, (), generator=g) for g in draws])
        return window.to(self.turns.device), turn.to(self.turns.device)

    def next(
        self,
        here: Tensor,  # (n, PATCH, PATCH) numbers of pixels, known in part
        above: bool,
        left: bool,
        taken: list[tuple[Tensor, int]],  # windows (n,) and how near none may come
        draws: list[torch.Generator],
        target: Tensor | None = None,  # (n, PATCH, PATCH, K): what to look like from afar
    ) -> tuple[Tensor, Tensor]:  # (n,), (n,)
        pictures, n = self.patches.pictures, len(here)
        known = self.known[above, left]
        K, N = pictures.shape[1], len(self.windows)
        wanted = pictures[here.flatten(1)[:, known]]  # (n, m, K)
        # the same pixels where each turn looks for them, zeros elsewhere: one product serves all turns
        asked = pictures.new_zeros(n, TURNS, PATCH * PATCH, K)
        for k, turn in enumerate(self.turns):
            asked[:, k, turn[known]] = wanted
        apart = torch.mm(asked.view(n * TURNS, -1), self.values.T).view(n, TURNS, N)
        apart.mul_(-2).add_(self.norms[above, left]).add_(
            wanted.square().sum(dim=(1, 2))[:, None, None]
        )
        goal = None
        if target is not None and self.cells is not None:
            goal = _cells(target).flatten(1, 2) * GUIDANCE**0.5  # (n, cells, K)
            wished = goal.new_zeros(n, TURNS, *goal.shape[1:])
            for k, turn in enumerate(self.cell_turns):
                wished[:, k, turn] = goal
            far = torch.mm(wished.view(n * TURNS, -1), self.cells.T).view(n, TURNS, N)
            far.mul_(-2).add_(self.cell_norms)
            apart.add_(far).add_(goal.square().sum(dim=(1, 2))[:, None, None])
        apart.clamp_min_(0)
        near = self._near(taken, n)
        apart.masked_fill_(near[:, None], torch.inf)
        floor = self.least * max(len(known), PATCH)
        best = apart.flatten(1).amin(dim=1) + floor
        cost = apart.div_((2 * TEMPERATURE * best)[:, None, None]).sub_(self.patches.log_weights)
        short = (
            cost.flatten(1)
            .topk(min(SHORTLIST, TURNS * N), dim=1, largest=False)
            .indices.sort(dim=1)
            .values
        )
        return self._draw(short, wanted, known, goal, floor, near, draws)

    def _draw(
        self,
        short: Tensor,  # (n, s)
        wanted: Tensor,  # (n, m, K)
        known: Tensor,
        goal: Tensor | None,  # (n, cells, K)
        floor: float,
        near: Tensor,  # (n, N)
        draws: list[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """One of the short list, by its exact distances."""
        N = len(self.windows)
        turn, window = short // N, short % N
        there = self.windows[window[..., None], self.turns[:, known][turn]]  # (n, s, m)
        gap = self.patches.pictures[there].double() - wanted[:, None].double()
        apart = gap.square().sum(dim=(2, 3))
        if goal is not None and self.cells is not None:
            cells = self.cells.view(len(self.cells), *goal.shape[1:])
            there = cells[window[..., None], self.cell_turns[turn]]  # (n, s, cells, K)
            apart += (there.double() - goal[:, None].double()).square().sum(dim=(2, 3))
        apart.masked_fill_(near.gather(1, window), torch.inf)
        best = apart.amin(dim=1, keepdim=True) + floor
        score = self.patches.log_weights.double()[window] - apart / (2 * TEMPERATURE * best)
        luck = torch.stack(
            [torch.rand(short.shape[1], generator=g, dtype=torch.float64) for g in draws]
        ).to(short.device)
        pick = (score - (-luck.clamp_min(1e-300).log()).log()).argmax(dim=1, keepdim=True)
        return window.gather(1, pick)[:, 0], turn.gather(1, pick)[:, 0]

    def _near(self, taken: list[tuple[Tensor, int]], n: int) -> Tensor:  # (n, N) bool
        """Candidates too near, in the scene, to where a patch of this layout came from."""
        corners = self.patches.corners
        near = torch.zeros(n, len(corners), dtype=torch.bool, device=corners.device)
        for window, reach in taken:
            near |= (corners[None] - corners[window][:, None]).abs().amax(dim=-1) < reach
        near &= ~near.all(dim=1, keepdim=True)  # a scene too small to be choosy
        return near


def _overlap(above: bool, left: bool) -> Tensor:  # (m,) numbers in a patch
    """What is known of a patch beside others."""
    inside = torch.zeros(PATCH, PATCH, dtype=torch.bool)
    inside[:OVERLAP] |= above
    inside[:, :OVERLAP] |= left
    return inside.flatten().nonzero()[:, 0]


def _pictures(looks: LogComponents, abundances: Tensor) -> Tensor:  # (..., D) -> (..., K) float32
    """Components over the roots of their standard deviations: small ones count, but less."""
    return (looks(abundances) / (looks.spread * looks.spread[0]).sqrt().clamp_min(1e-12)).float()


def _neighbours(chosen: Tensor, r: int, c: int) -> list[tuple[Tensor, int]]:
    """What is laid already within three patches, and how near in the scene none may come to it."""
    taken = []
    for i in range(max(0, r - 3), r + 1):
        for j in range(max(0, c - 3), min(chosen.shape[1], c + 4)):
            if i < r or j < c:
                reach = PATCH if max(r - i, abs(c - j)) <= 1 else PATCH // 2
                taken.append((chosen[i, j], reach))
    return taken


def _windows(corners: Tensor, width: int) -> Tensor:  # (N, PATCH^2) numbers of pixels
    side = torch.arange(PATCH, device=corners.device)
    i, j = side.view(-1, 1), side.view(1, -1)
    return (corners[:, 0] * width + corners[:, 1])[:, None] + (i * width + j).view(1, -1)


def _count(side: int) -> int:
    """Patches along a side, with room to cut anywhere within a step: no seam has a place of its own."""
    step = PATCH - OVERLAP
    return -(-(side + step - 1 - OVERLAP) // step)


@dataclass(frozen=True)
class _Way:
    """Where in its field a block lies, and in which turn: seams and the order of growth have no place of their own."""

    corner: tuple[int, int]
    size: tuple[int, int]
    turn: int

    @classmethod
    def drawn(cls, room: Sequence[int], size: tuple[int, int], draw: torch.Generator) -> _Way:
        i, j = (
            int(torch.randint(whole - side + 1, (), generator=draw))
            for whole, side in zip(room, size, strict=True)
        )
        turn = int(torch.randint(TURNS, (), generator=draw))
        return cls((i, j), size, turn if size[0] == size[1] else turn & 3)

    def cut(self, field: Tensor) -> Tensor:  # (L, L') -> (h, w)
        (i, j), (h, w) = self.corner, self.size
        block = self._flipped(field[i : i + h, j : j + w])
        return block.transpose(0, 1) if self.turn & 4 else block

    def spread(self, guide: Tensor, room: Sequence[int]) -> Tensor:  # (h, w, K) -> (L, L', K)
        """The guide where `cut` will take the block from; its edge pixels go on beyond."""
        (i, j), (h, w) = self.corner, self.size
        block = self._flipped(guide.transpose(0, 1) if self.turn & 4 else guide)
        rows = (torch.arange(room[0], device=guide.device) - i).clamp(0, h - 1)
        columns = (torch.arange(room[1], device=guide.device) - j).clamp(0, w - 1)
        return block[rows][:, columns]

    def _flipped(self, block: Tensor) -> Tensor:
        axes = [axis for axis in (0, 1) if self.turn >> axis & 1]
        return block.flip(axes) if axes else block


def _cells(blocks: Tensor) -> Tensor:  # (n, PATCH, PATCH, K) -> (n, cells a side, cells a side, K)
    """Means over squares of `CELL` pixels, times CELL: squared distances are then those of so many equal pixels."""
    side = PATCH // CELL
    return blocks.reshape(-1, side, CELL, side, CELL, blocks.shape[-1]).mean(dim=(2, 4)) * CELL


def beyond_seam(
    apart: Tensor,  # (n, length, width)
) -> Tensor:  # (n, length, width) bool
    """Which pixels lie on or beyond the cheapest path down a strip, one step sideways a row at most.

    Examples
    --------
    >>> apart = torch.tensor([[[9.0, 0.0, 9.0], [9.0, 9.0, 0.0], [9.0, 0.0, 9.0]]])
    >>> beyond_seam(apart)[0].int().tolist()
    [[0, 1, 1], [0, 0, 1], [0, 1, 1]]
    """
    wall = apart.new_full((len(apart), 1), torch.inf)
    costs = [apart[:, 0]]
    for row in apart.unbind(1)[1:]:
        above = torch.cat([wall, costs[-1], wall], dim=1)
        costs.append(row + above.unfold(1, 3, 1).amin(dim=-1))
    columns = torch.arange(apart.shape[2], device=apart.device)
    at = costs[-1].argmin(dim=1)
    path = [at]
    for cost in costs[-2::-1]:
        far = (columns - at[:, None]).abs() > 1
        at = cost.masked_fill(far, torch.inf).argmin(dim=1)
        path.append(at)
    return columns >= torch.stack(path[::-1], dim=1)[..., None]
