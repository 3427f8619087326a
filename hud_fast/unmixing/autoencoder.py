"""The unmixing autoencoder (UAE) of arXiv 2506.02601: spectra to abundances and back.

    encoder "fcls"    x = argmin |y - A^T x|, x >= 0, sum x = 1             (eq. 2, exact solver)
    encoder "linear"  x = W y, W (D, C) initialised with the least-squares solution (eq. 3)
    decoder           y' = A^T x, A (D, C) the endmembers, kept non-negative        (eq. 1)

Both are initialised from the endmembers and frozen. `fine_tune` lowers the reconstruction loss |y -
y'|^2 on pixels of the scene. With "linear", x goes through log-projection and softmax first (eqs. 4
to 6: clip, then sum to one), the way that every generated abundance comes back, so it stays on the
simplex. With "fcls" the solver is run on each batch with the current endmembers: at the optimum of
x, the gradient of the loss with respect to A is the gradient at fixed x (envelope theorem), so
nothing is lost by not differentiating through the solver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hud_fast._checks import (
    ArrayT,
    as_wide,
    check_choice,
    check_count,
    check_endmembers,
    check_number,
    check_seed,
    check_values,
    like_input,
)
from hud_fast._torch_state import in_plain_torch
from hud_fast.unmixing.linear import linear_abundances

EncoderName = Literal["fcls", "linear"]


class UnmixingAutoencoder(nn.Module):
    """Encoder to abundances and linear decoder to spectra, initialised from endmembers and frozen.

    Parameters
    ----------
    endmembers : array or tensor, (D, C)
        One spectrum a row, in the unit of the pixels. float32 and float64 stay;
        half precision and integers of up to 16 bits become float32.
    encoder : {"fcls", "linear"}
        The exact constrained solver, or a linear layer that starts as the least-squares solution.

    Attributes
    ----------
    endmembers : Parameter, (D, C)
        The decoder.
    weight : Parameter, (D, C), or None
        The linear encoder; None for "fcls".

    Raises
    ------
    TypeError
        Input that is not numeric.
    ValueError
        An unknown encoder; endmembers that are not (D, C), not finite, zero throughout, or, for
        "linear", more than the bands or dependent.

    References
    ----------
    arXiv 2506.02601, eqs. 1 to 6.

    Examples
    --------
    >>> import torch
    >>> endmembers = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    >>> model = UnmixingAutoencoder(endmembers, encoder="linear")
    >>> pixels = torch.tensor([[0.25, 0.75, 0.5]])
    >>> [round(v, 4) for v in model.encode(pixels)[0].tolist()]
    [0.25, 0.75]
    >>> model.decode(torch.tensor([[0.5, 0.5]])).tolist()
    [[0.5, 0.5, 0.5]]
    """

    weight: nn.Parameter | None

    @in_plain_torch
    def __init__(
        self,
        endmembers: Any,  # (D, C)
        *,
        encoder: EncoderName = "fcls",
    ) -> None:
        super().__init__()
        name = "UnmixingAutoencoder"
        check_choice(name, "encoder", encoder, ("fcls", "linear"))
        A = as_wide(name, "endmembers", endmembers, small_integers=torch.float32)
        check_endmembers(name, A, nonzero=True)
        self.encoder = encoder
        self.endmembers = nn.Parameter(A.detach().clone(), requires_grad=False)
        if encoder == "linear":
            # Least squares is linear: its matrix is what it gives for the C unit pixels.
            unit = torch.eye(A.shape[1], dtype=torch.float64, device=A.device)
            W = linear_abundances(unit, A.detach()).T.to(A.dtype)
            self.weight = nn.Parameter(W.contiguous(), requires_grad=False)
        else:
            self.register_parameter("weight", None)

    @property
    def D(self) -> int:
        """Number of endmembers."""
        return self.endmembers.shape[0]

    @property
    def C(self) -> int:
        """Number of bands."""
        return self.endmembers.shape[1]

    def extra_repr(self) -> str:
        return f"D={self.D}, C={self.C}, encoder={self.encoder!r}"

    def encode(
        self,
        pixels: ArrayT,  # (..., C)
        *,
        constrained: bool = False,
    ) -> ArrayT:  # (..., D)
        """Abundances of `pixels`, in the module's dtype and on its device.

        The linear encoder's values may be negative; ``constrained=True`` puts them on the simplex
        as the latent space does (clip, add delta, sum to one). FCLS abundances are on the simplex
        anyway.
        """
        return like_input(self._encode(self._pixels("encode", pixels), constrained), pixels)

    def decode(
        self,
        abundances: ArrayT,  # (..., D)
    ) -> ArrayT:  # (..., C)
        """Spectra mixed from `abundances`."""
        x = as_wide("UnmixingAutoencoder.decode", "abundances", abundances)
        check_values("UnmixingAutoencoder.decode", "abundances", x)
        if x.ndim < 1 or x.shape[-1] != self.D:
            raise ValueError(
                f"UnmixingAutoencoder.decode: `abundances` must have shape (..., D) with "
                f"D = {self.D}, got {tuple(x.shape)}"
            )
        return like_input(x.to(self.endmembers) @ self.endmembers, abundances)

    def forward(
        self,
        pixels: ArrayT,  # (..., C)
    ) -> ArrayT:  # (..., C)
        """Reconstruction through abundances on the simplex."""
        x = self._encode(self._pixels("forward", pixels), True)
        return like_input(x @ self.endmembers, pixels)

    @in_plain_torch
    def fine_tune(
        self,
        pixels: Any,  # (..., C)
        *,
        steps: int = 500,
        lr: float = 1e-3,
        batch_size: int = 2048,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[float]:
        """Lower the reconstruction loss by Adam, decoder kept non-negative; then freeze again.

        Parameters
        ----------
        pixels : array or tensor, (..., C)
            Training spectra; those with a non-finite band are left out.
        steps, batch_size : int
            Number of updates, and of pixels drawn (with replacement) for each.
        lr : float
            First learning rate of the decoder, in units of the root mean square of the endmembers;
            falls to zero by a half cosine. The linear encoder learns at lr / C, since C bands add
            up in each abundance.
        seed : int
            Seed of the draws: the same seed gives the same result on the same device.
        progress : callable, optional
            Called as progress(done, steps).

        Returns
        -------
        list of float
            Loss of each step: mean squared error over pixels and bands, divided by the mean square
            of the endmembers as they were at the start.

        Raises
        ------
        TypeError, ValueError
            For arguments out of type or range, and when no pixel is finite.
        """
        name = "UnmixingAutoencoder.fine_tune"
        steps = check_count(name, "steps", steps)
        batch_size = check_count(name, "batch_size", batch_size)
        lr = check_number(name, "lr", lr)
        if not lr > 0:
            raise ValueError(f"{name}: `lr` must be above 0, got {lr}")
        seed = check_seed(name, seed)
        if seed >= 2**63:
            raise ValueError(f"{name}: `seed` must be below 2**63, got {seed}")
        generator = torch.Generator().manual_seed(seed)
        flat = self._pixels("fine_tune", pixels).detach().reshape(-1, self.C)
        flat = flat[torch.isfinite(flat).all(dim=1)]
        if len(flat) == 0:
            raise ValueError(f"{name}: `pixels` must hold at least one finite pixel, got none")

        # One number brings spectra to order one, so that lr and Adam's epsilon do not depend on the
        # unit.
        scale = float(self.endmembers.detach().double().square().mean().sqrt())
        trained: list[dict[str, Any]] = [{"params": [self.endmembers], "lr": lr}]
        if self.weight is not None:
            trained.append({"params": [self.weight], "lr": lr / self.C})
        self._rescale(1 / scale)
        try:
            for group in trained:
                group["params"][0].requires_grad_(True)
            optimiser = torch.optim.Adam(trained)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
            losses: list[float] = []
            for step in range(steps):
                draw = torch.randint(len(flat), (batch_size,), generator=generator, device="cpu")
                y = flat[draw.to(flat.device)] / scale
                loss = (y - self._encode(y, True) @ self.endmembers).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                with torch.no_grad():
                    self.endmembers.clamp_(min=0)
                losses.append(float(loss.detach()))
                if progress is not None:
                    progress(step + 1, steps)
        finally:
            for group in trained:
                group["params"][0].requires_grad_(False).grad = None
            self._rescale(scale)
        return losses

    @torch.no_grad()
    def _rescale(self, factor: float) -> None:
        """The same autoencoder for pixels multiplied by `factor`."""
        self.endmembers.mul_(factor)
        if self.weight is not None:
            self.weight.div_(factor)

    def _pixels(self, method: str, pixels: Any) -> Tensor:  # (..., C)
        name = f"UnmixingAutoencoder.{method}"
        y = as_wide(name, "pixels", pixels)
        check_values(name, "pixels", y)
        if y.ndim < 1 or y.shape[-1] != self.C:
            raise ValueError(
                f"{name}: `pixels` must have shape (..., C) with C = {self.C} as in `endmembers`, "
                f"got {tuple(y.shape)}"
            )
        return y.to(self.endmembers)

    def _encode(self, y: Tensor, constrained: bool) -> Tensor:  # (..., C) -> (..., D)
        from hud_fast.kernels import fcls, log_project, simplex_softmax

        if self.weight is None:
            abundances: Tensor = fcls(y.detach(), self.endmembers.detach())
            return abundances
        x = y @ self.weight.T
        if not constrained:
            return x
        return simplex_softmax(log_project(x, dim=-1), dim=-1)
