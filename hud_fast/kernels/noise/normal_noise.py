"""Normal noise without state: number e of sample i at step t of a seed depends on (seed, i, t, e) and on nothing else.

Philox 4x32 of 10 rounds on the counter (block, t, i low, i high) with the seed as key, and Box and Muller's
transformation in float32: see csrc/noise/philox.h. Whatever the batch, split, order, thread count or process, a sample
gets its own noise; different addresses never share a draw. Another instruction-set level, or the torch reference,
agrees to a few units in the last place (their logarithm and sine round differently).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hud_fast._checks import as_device, as_index
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op

# As csrc/noise/philox.h: 16 blocks of 4 numbers make a group, output k of block l is number 16 k + l.
BLOCKS, OUTPUTS = 16, 4
GROUP = BLOCKS * OUTPUTS


# Philox 4x32's multipliers and what its keys grow by, each for c0 and c2.
FACTORS, BUMPS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def _philox(
    even: Tensor,  # (2, ...) int32, the bits of c0 and c2
    odd: Tensor,  # (2, ...) int32, of c1 and c3
    key: tuple[int, int],
) -> tuple[Tensor, Tensor]:  # the same
    """Philox 4x32-10, four launches a round.

    int64 wraps, so the two words of a product of unsigned 32-bit numbers are all its bits: high and low words are views
    of it (little-endian, as every machine with torch is). Both factors multiply both c0 and c2; the middle two of the
    four products are the wanted ones in the order in which the round takes them.
    """

    def numbers(first: int, step: int, count: int) -> Tensor:
        # on the device by itself: for a copy of numbers of the host it would be waited
        return torch.arange(first, first + count * step, step, device=even.device)

    single = (1,) * (even.ndim - 1)
    factors = numbers(FACTORS[1], FACTORS[0] - FACTORS[1], 2).view(2, 1, *single)
    words = [numbers(k, bump, ROUNDS) for k, bump in zip(key, BUMPS, strict=True)]
    keys = torch.stack(words, 1).view(torch.int32)[:, ::2].view(ROUNDS, 2, *single)
    for now in keys:
        product = (factors * even.view(torch.uint32).long()).flatten(0, 1)[1:3].view(torch.int32)
        even, odd = product[..., 1::2] ^ odd ^ now, product[..., ::2]
    return even, odd


def philox_reference(counter: list[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox 4x32-10 in int64 tensors: four 32-bit numbers for each counter."""
    even, odd = _philox(torch.stack(counter[::2]).int(), torch.stack(counter[1::2]).int(), key)
    (c0, c2), (c1, c3) = (words.view(torch.uint32).long() for words in (even, odd.contiguous()))
    return [c0, c1, c2, c3]


class Address(NamedTuple):
    """Where drawn noise lies: numbers, and what is added to them where the noise is made.

    A captured graph keeps the numbers for ever, and reads the tensors anew each time it replays.
    """

    seed: int
    step: int
    first: int
    at: Tensor | None = None  # (1,) int64, added to `step` modulo 2**32
    start: Tensor | None = None  # (1,) int64, added to `first`


def normal_noise_reference(
    samples: int, count: int, address: Address, device: torch.device | str = "cpu"
) -> Tensor:  # (samples, count) float32
    """The definition in plain torch; nothing waits for the device."""
    seed, step, first, at, start = address
    numbers = torch.arange(first, first + samples, device=device)
    numbers = numbers if start is None else numbers + start
    now = torch.full((1,), step, device=device) if at is None else at + step
    return normal_noise_at(numbers, now, count, seed=seed)


def normal_noise_at(
    samples: Tensor,  # (B,) int64, numbers of the samples
    step: Tensor,  # () or (1,) int64, modulo 2**32
    count: int,
    *,
    seed: int,
) -> Tensor:  # (B, count) float32, on the device of `samples`
    """The definition at addresses that lie on a device: nothing waits for them.

    60 launches of torch's kernels, whatever the size: all of a small network's step are a few hundred.
    """
    B, groups = len(samples), -(-count // GROUP)
    shape = (B, groups * BLOCKS)
    block = torch.arange(shape[1], dtype=torch.int32, device=samples.device)
    low, high = samples.view(torch.int32).view(B, 2, 1).unbind(1)
    now = step.reshape(1).view(torch.int32)[:1]
    even = torch.stack([block.expand(shape), low.expand(shape)])
    odd = torch.stack([now.expand(shape), high.expand(shape)])
    even, odd = _philox(even, odd, (seed & 0xFFFFFFFF, seed >> 32))
    # Tensors of one number on the CPU go along as arguments do, and make what comes of integers float64.
    half, turn = (
        torch.tensor(x, dtype=torch.float64, device="cpu") for x in (2**-33, math.pi * 2**-31)
    )
    uniform = torch.add(half, even.view(torch.uint32).long(), alpha=2**-32)  # (c + 1/2) 2^-32
    radius = torch.sqrt(-2 * torch.log(uniform))
    # The upper two bits are a quadrant, the rest an angle about its middle line: where its upper bit is set, the angle
    # is a quadrant less than the number says. A full circle is 2^32, so the number may as well be signed.
    angle = torch.sub(odd * turn, odd & (1 << 29), alpha=math.pi * 2**-30)
    normals: Tensor = torch.view_as_real(torch.polar(radius, angle)).unflatten(2, (groups, BLOCKS))
    # (pair, B, group, block, number of the pair) to the order that is promised
    ordered = normals.permute(1, 2, 0, 4, 3).to(
        torch.float32, memory_format=torch.contiguous_format
    )
    return ordered.view(B, groups * GROUP)[:, :count].contiguous()


def check_address(op: str, seed: Any, step: Any, first: Any) -> tuple[int, int, int]:
    """The three as ints; TypeError or ValueError naming the one that is none, or out of range."""
    limits = {"seed": 2**63, "step": 2**32, "first": 2**63}
    for (name, limit), value in zip(limits.items(), (seed, step, first), strict=True):
        number = as_index(op, name, value)
        if not 0 <= number < limit:
            raise ValueError(
                f"{op}: `{name}` must be from 0 to 2**{limit.bit_length() - 1} - 1, got {number}"
            )
    return int(seed), int(step), int(first)


def check_shape(op: str, shape: Any) -> tuple[int, ...]:
    """`shape` as ints of 0 or more, one at least; their product a number that a tensor can have."""
    if not isinstance(shape, Sequence) or isinstance(shape, (str, bytes)):
        raise TypeError(f"{op}: `shape` must be (B, ...) of integers, got {shape!r}")
    sizes = tuple(as_index(op, "shape", size) for size in shape)
    if not sizes or min(sizes) < 0 or math.prod(sizes) >= 2**60:
        raise ValueError(f"{op}: `shape` must be (B, ...) of numbers >= 0, got {shape!r}")
    return sizes


def address_of(
    op: str, seed: int, step: int | Tensor, first: int | Tensor, device: torch.device
) -> Address:
    """The address, `step` and `first` as numbers or as tensors on `device`; an error that names what is wrong."""
    numbers: dict[str, Any] = {"step": step, "first": first}
    tensors: dict[str, Tensor] = {}
    for name, value in (("step", step), ("first", first)):
        if not isinstance(value, Tensor):
            continue
        if value.dtype != torch.int64 or value.numel() != 1:
            raise TypeError(
                f"{op}: `{name}` must be an integer or a tensor of one int64, got {value.dtype} of shape "
                f"{tuple(value.shape)}"
            )
        if value.device != device:
            raise RuntimeError(
                f"{op}: `{name}` must be on the tensors' device {device}, got {value.device}"
            )
        numbers[name], tensors[name] = 0, value.detach().reshape(1)
    return Address(*check_address(op, seed, **numbers), tensors.get("step"), tensors.get("first"))


def native_step(
    out: Tensor,  # (B, ...)
    *,
    z: Tensor | None = None,
    e: Tensor | None = None,
    noise: Tensor | None = None,
    noise_out: Tensor | None = None,
    factors: tuple[Tensor, Tensor, Tensor],  # (B,) float64 each
    address: Address | None = None,
) -> None:
    """out = z_factor z + e_factor e + noise_factor n for each sample; n is `noise`, or drawn at `address`."""
    seed, step, first, at, start = address or Address(0, 0, 0)
    step = step if at is None else (step + int(at)) % 2**32
    first = first if start is None else first + int(start)
    draw = address is not None
    threads = torch.get_num_threads()
    C.diffusion_step(z, e, noise, draw, out, noise_out, *factors, seed, first, step, threads)


def _torch(like: Tensor, sizes: tuple[int, ...], address: Address) -> Tensor:
    noise = normal_noise_reference(sizes[0], math.prod(sizes[1:]), address, like.device)
    return noise.to(like.dtype).view(sizes)


def _native(like: Tensor, sizes: tuple[int, ...], address: Address) -> Tensor:
    out = empty(sizes, like)
    one = torch.ones(sizes[0], dtype=torch.float64, device="cpu")
    native_step(out, factors=(one, one, one), address=address)
    return out


def _triton(like: Tensor, sizes: tuple[int, ...], address: Address) -> Tensor:
    from hud_fast.kernels.noise import triton as diffusion

    out = empty(sizes, like)
    diffusion.affine(out, factors=(0.0, 0.0, 1.0), address=address).run("normal_noise", out)
    return out


_OP = Op(
    "normal_noise",
    {"torch": _torch, "cpu": _native, "triton": _triton},
    on_gpu="triton",
    halves=True,
)


def normal_noise(
    shape: tuple[int, ...],  # (B, ...)
    *,
    seed: int,
    step: int | Tensor = 0,
    first: int | Tensor = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    backend: str | None = None,
) -> Tensor:  # (B, ...)
    """Standard normal noise that is a function of its address: sample `first` + b of the seed at a step.

    Parameters
    ----------
    shape : tuple of int
        (B, ...): B samples.
    seed, step, first : int
        The address: seed and first from 0 to 2**63 - 1, step to 2**32 - 1. `step` and `first` may be tensors of one
        int64 on `device` (a step modulo 2**32): a CUDA graph that replays draws the noise of what it finds there.
    dtype : torch.dtype
        float16, bfloat16, float32 or float64; the noise has float32's resolution at most.
    device : torch.device or str
        Where the noise is made; the same to a few units in the last place on each.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    Tensor, shape (B, ...)

    Raises
    ------
    TypeError
        For an address that is not of integers, or a dtype that is not of floats.
    ValueError
        For an empty or negative shape, or an address out of range.

    References
    ----------
    Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> both = hud.normal_noise((8, 3, 4), seed=1)
    >>> bool((hud.normal_noise((2, 3, 4), seed=1, first=6) == both[6:]).all())
    True
    """
    op = "normal_noise"
    sizes = check_shape(op, shape)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        raise TypeError(f"{op}: `dtype` must be of floats of 16 bits or more, got {dtype!r}")
    like = torch.empty(0, dtype=dtype, device=as_device(op, "device", device))
    address = address_of(op, seed, step, first, like.device)
    noise: Tensor = _OP(like, sizes, address, backend=backend)
    return noise
