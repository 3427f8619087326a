"""Generating: a model's new abundance maps, batch by batch, as several processes make them in turn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hud_fast.diffusion import processes
from hud_fast.diffusion.choices import Sampling
from hud_fast.diffusion.joint import JointLatent
from hud_fast.diffusion.patch_weights import steered
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.sampling import sample_latent

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD


REACHED = 0.5  # of a share that was asked for: less is told
MOST_WEIGHED = 128  # of a model's patches, for what was asked of them before
_WEIGHED: WeakKeyDictionary[Patches, dict[tuple[Any, ...], tuple[Patches, Tensor]]] = (
    WeakKeyDictionary()
)


def abundance_batches(
    model: HUD, sampling: Sampling
) -> Iterator[tuple[Tensor, Tensor | None]]:  # each (b, h, w, D) and (b, h, w, K), b <= batch_size
    """What the network generates, or layouts that it guides, or layouts alone; for the first process only.

    With the shares of classes, where the model has them.
    """
    network, size = model.network, sampling.size
    patches = _steered(model, sampling)
    rank, count = processes.rank(), processes.count()
    laying = 0 if patches is None else patches.patches_of(size)
    tick = _telling(sampling, len(sampling.plan) + laying)
    each = 1 if max(size) > sampling.tile else sampling.batch_size  # as `sample_latent` makes them
    samples = sampling.samples
    mine = [samples[i : i + each] for i in range(rank * each, len(samples), count * each)]
    K = 0 if model.classes is None else model.classes.K
    generated: Iterator[tuple[Tensor | None, Tensor | None]] = repeat((None, None), len(mine))
    if network is not None:
        shares, told = sampling.wanted or (None, None)
        latents = sample_latent(
            network,
            sampling.plan,
            samples,
            (model.D + network.K, *size),
            seed=sampling.seed,
            batch_size=sampling.batch_size,
            tile=sampling.tile,
            precision=model.preset.precision,
            turn=(rank, count),
            shares=shares,
            told=told,
            guidance=sampling.guidance,
            progress=tick,
        )
        generated = (_decoded(model, z) for z in latents)

    def laid(batch: range, guides: Tensor | None, shares: Tensor | None) -> Tensor:
        maps = guides
        if patches is not None:
            layouts = patches.layouts(
                batch,
                size,
                seed=sampling.seed,
                guides=guides,
                guide_shares=shares,
                progress=tick,
            )
            maps = patches.abundances[layouts]
            shares = None if patches.shares is None else patches.shares[layouts]
        assert maps is not None
        # one tensor: they travel
        both = maps if shares is None else torch.cat([maps, shares.to(maps)], dim=-1)
        return both if count == 1 else both.cpu()

    pairs = zip(mine, generated, strict=True)
    for both in processes.in_turn(laid(batch, *guides) for batch, guides in pairs):
        yield (both, None) if not K else (both[..., : model.D], both[..., model.D :])


def _decoded(model: HUD, z: Tensor) -> tuple[Tensor, Tensor | None]:
    if isinstance(model.latent, JointLatent):
        return model.latent.decode(z)
    return model.latent.decode(z), None


def _steered(model: HUD, sampling: Sampling) -> Patches | None:
    """The model's patches; where they are laid alone, with weights that bring the classes asked for."""
    patches, classes = model.patches, model.classes
    if patches is None or classes is None or sampling.wanted is None or model.network is not None:
        return patches
    shares, told = sampling.wanted
    block = model.preset.crop

    def weighed() -> tuple[Patches, Tensor]:
        found, reached = steered(patches, shares, told, block)
        return (
            (found, reached)
            if processes.count() == 1
            else (found.to(torch.device("cpu")), reached.cpu())
        )

    # Samples are made in parts, and weighing takes as long as forty blocks of them.
    done = _WEIGHED.setdefault(patches, {})
    key = (tuple(shares.tolist()), tuple(told.tolist()), block)
    if key not in done:
        while len(done) >= MOST_WEIGHED:
            del done[next(iter(done))]
        done[key] = processes.on_first(weighed)
    found, reached = done[key]
    short = [
        f"{reached[k]:.2f} of {classes.names[k]!r} for {shares[k]:.2f}"
        for k in told.nonzero()[:, 0].tolist()
        if reached[k] < REACHED * shares[k]
    ]
    if short and processes.is_first():
        warnings.warn(
            f"HUD.sample: patches of the scene do not bring the classes asked for: {', '.join(short)}, on average",
            UserWarning,
            stacklevel=2,
        )
    return found.to(patches.device)


def _telling(sampling: Sampling, each: int) -> Callable[[int], None]:
    """A function that is told of steps done here, and tells of all; a sample takes `each` of them."""
    done, total = 0, len(sampling.samples) * each

    def tick(steps: int) -> None:
        nonlocal done
        done += steps * processes.count()  # the others are about as far
        if sampling.progress is not None and processes.is_first():
            sampling.progress(min(done, total), total)

    return tick
