"""Generating: a model's new abundance maps, batch by batch, as several processes make them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING

from torch import Tensor

from hud_fast.diffusion import processes
from hud_fast.diffusion.choices import Sampling
from hud_fast.diffusion.sampling import sample_latent

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD


def abundance_batches(
    model: HUD, sampling: Sampling
) -> Iterator[Tensor]:  # each (b, h, w, D), b <= batch_size
    """What the network generates, or layouts that it guides, or layouts alone; for the first process only."""
    network, patches, size = model.network, model.patches, sampling.size
    rank, count = processes.rank(), processes.count()
    laying = 0 if patches is None else patches.patches_of(size)
    tick = _telling(sampling, len(sampling.plan) + laying)
    each = 1 if max(size) > sampling.tile else sampling.batch_size  # as `sample_latent` makes them
    samples = sampling.samples
    mine = [samples[i : i + each] for i in range(rank * each, len(samples), count * each)]
    generated: Iterator[Tensor | None] = repeat(None, len(mine))
    if network is not None:
        latents = sample_latent(
            network,
            sampling.plan,
            samples,
            (model.D, *size),
            seed=sampling.seed,
            batch_size=sampling.batch_size,
            tile=sampling.tile,
            precision=model.preset.precision,
            turn=(rank, count),
            progress=tick,
        )
        generated = (model.latent.decode(z) for z in latents)

    def laid(batch: range, guides: Tensor | None) -> Tensor:
        maps = guides
        if patches is not None:
            layouts = patches.layouts(batch, size, seed=sampling.seed, guides=guides, progress=tick)
            maps = patches.abundances[layouts]
        assert maps is not None
        return maps if count == 1 else maps.cpu()  # they travel

    pairs = zip(mine, generated, strict=True)
    yield from processes.in_turn(laid(batch, guides) for batch, guides in pairs)


def _telling(sampling: Sampling, each: int) -> Callable[[int], None]:
    """A function that is told of steps done here, and tells of all; a sample takes `each` of them."""
    done, total = 0, len(sampling.samples) * each

    def tick(steps: int) -> None:
        nonlocal done
        done += steps * processes.count()  # the others are about as far
        if sampling.progress is not None and processes.is_first():
            sampling.progress(min(done, total), total)

    return tick
