"""Presets: every choice of a model in one object, and the four of the package.

The paper fixes T = 1000, blocks of 32 x 32, the L2 loss on the noise (eq. 15) and the ancestral
sampler (eq. 14). It leaves open the betas, sigma_t, the network's width, the optimiser, the number
of steps and the EMA; what stands in `paper` for these is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from hud_fast.diffusion.schedule import SCHEDULES

Sampler = Literal["ddpm", "ddim", "dpm++"]
SAMPLERS = ("ddpm", "ddim", "dpm++")
SIGMAS = ("beta_tilde", "beta")
PREDICTIONS = ("epsilon", "v", "residual")
LOSS_WEIGHTS = ("uniform", "min_snr")
DECAYS = ("cosine", "constant")
PRECISIONS = ("float32", "bfloat16")
PATCHES = ("no", "guided", "alone")


@dataclass(frozen=True)
class Preset:
    """Settings of network, training and sampling; change some with ``dataclasses.replace``.

    Examples
    --------
    >>> from dataclasses import replace
    >>> replace(PRESETS["tiny"], steps=100).steps
    100
    """

    name: str
    summary: str  # for people: what it is for, what is the paper's, what is ours

    # network: diffusers' UNet2DModel
    # channels of each level, full resolution first; each level halves the size
    widths: tuple[int, ...]
    layers: int  # residual blocks a level
    attention: tuple[bool, ...]  # self-attention at each level (and in the middle if any)

    # training
    steps: int
    batch: int
    learning_rate: float
    # upper limit; warmed up as 1 - (1 + step)^-3/4, so short trainings average less
    ema_decay: float

    # sampling
    sampler: Sampler
    sampler_steps: int

    # fields from here on have a value that suits all three presets
    # whether samples are laid of patches of the scene (`patches`): not (the paper), guided by what the network
    # generates, or alone, without a network and without training: `steps` is then 0
    patches: Literal["no", "guided", "alone"] = "no"
    # what the network says: the noise (the paper), v (`schedule.velocity`), or what `prior` does not know of the noise
    prediction: Literal["epsilon", "v", "residual"] = "epsilon"
    groups: int = 8  # of the group normalisation; divides every width
    # of the network's convolutions and products, in training and sampling
    precision: Literal["float32", "bfloat16"] = "float32"
    crop: int = 32  # side of the training windows, in pixels
    T: int = 1000
    schedule: Literal["linear", "cosine"] = "linear"
    beta_start: float = 1e-4  # of the linear schedule
    beta_end: float = 0.02
    zero_terminal_snr: bool = False  # pure noise at t = T - 1; with "v" only
    sigma: Literal["beta_tilde", "beta"] = "beta_tilde"  # variance of eq. 14's noise
    augment: bool = True  # flips and quarter turns of the windows
    # of the times: eq. 15, or min(SNR, gamma)
    loss_weight: Literal["uniform", "min_snr"] = "uniform"
    min_snr_gamma: float = 5.0
    # parts that a batch goes through the network in: less memory, the same step
    accumulate: int = 1
    ema_warmup: bool = True  # of the averaged weights
    compile: bool = False  # torch.compile of the network in training
    warmup: int = 100  # steps of linear growth of the learning rate
    decay: Literal["cosine", "constant"] = "cosine"  # of the learning rate after the warm-up
    weight_decay: float = 0.0
    clip: float = 1.0  # largest norm of the gradient
    log_every: int = 10  # steps averaged into one entry of the history
    checkpoint_every: int = 500
    keep: int = 2  # newest checkpoints kept

    def __post_init__(self) -> None:
        for field in ("layers", "batch", "sampler_steps", "groups", "crop", "T"):
            self._check(field, getattr(self, field) >= 1, "be at least 1")
        self._check_one_of("patches", PATCHES)
        if self.trains:
            self._check("steps", self.steps >= 1, "be at least 1")
        else:
            self._check("steps", self.steps == 0, "be 0 with patches = alone")
        for field in ("log_every", "checkpoint_every", "keep", "accumulate"):
            self._check(field, getattr(self, field) >= 1, "be at least 1")
        fit = bool(self.widths) and all(w >= 1 and w % self.groups == 0 for w in self.widths)
        self._check("widths", fit, f"be multiples of groups = {self.groups}")
        levels, factor = len(self.widths), self.factor
        must = f"have one entry for each of the {levels} widths"
        self._check("attention", len(self.attention) == levels, must)
        must = f"be a multiple of {factor} and at least {2 * factor}"
        self._check("crop", self.crop % factor == 0 and self.crop >= 2 * factor, must)
        self._check("sampler_steps", self.sampler_steps <= self.T, f"be at most T = {self.T}")
        for field in ("learning_rate", "clip"):
            self._check(field, getattr(self, field) > 0, "be positive")
        for field in ("warmup", "weight_decay"):
            self._check(field, getattr(self, field) >= 0, "not be negative")
        self._check("ema_decay", 0 <= self.ema_decay < 1, "lie in [0, 1)")
        self._check_one_of("sampler", SAMPLERS)
        self._check_one_of("sigma", SIGMAS)
        self._check_one_of("prediction", PREDICTIONS)
        self._check_one_of("precision", PRECISIONS)
        self._check_one_of("decay", DECAYS)
        self._check_one_of("schedule", SCHEDULES)
        self._check_one_of("loss_weight", LOSS_WEIGHTS)
        self._check("min_snr_gamma", self.min_snr_gamma > 0, "be positive")
        whole = self.batch % self.accumulate == 0
        self._check("accumulate", whole, f"divide batch = {self.batch}")
        if self.zero_terminal_snr and self.prediction != "v":
            raise ValueError(
                "Preset: `zero_terminal_snr` must go with prediction = v: pure noise tells nothing of epsilon, "
                f"got prediction = {self.prediction}"
            )

    def _check(self, field: str, good: bool, must: str) -> None:
        if not good:
            raise ValueError(f"Preset: `{field}` must {must}, got {getattr(self, field)}")

    def _check_one_of(self, field: str, known: tuple[str, ...]) -> None:
        self._check(field, getattr(self, field) in known, f"be one of {', '.join(known)}")

    @property
    def trains(self) -> bool:
        """Whether there is a network."""
        return self.patches != "alone"

    @property
    def factor(self) -> int:
        """How much smaller the deepest level is than the input."""
        return 1 << (len(self.widths) - 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able settings (tuples as lists)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Preset:
        """The inverse of `to_dict`; an unknown setting is an error that names it."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ValueError(f"Preset.from_dict: unknown setting `{unknown[0]}`")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
        }
        return cls(**values)


TINY = Preset(
    name="tiny",
    summary="two CPU cores, minutes: a small network says what stands where, patches of the scene how it looks",
    widths=(32, 64, 64),
    layers=1,
    attention=(False, False, False),
    prediction="residual",
    patches="guided",
    steps=3000,  # two cores: 0.10 s each
    batch=8,
    learning_rate=1e-3,
    ema_decay=0.995,
    sampler="dpm++",
    sampler_steps=10,  # docs/diffusion.md: more steps only let the network's errors grow into grain
    checkpoint_every=200,
)

INSTANT = replace(
    TINY,
    name="instant",
    summary="no training, seconds to a minute: the scene's own patches, sewn together in new ways",
    patches="alone",
    steps=0,
)

SMALL = Preset(
    name="small",
    summary="a GPU in minutes or a CPU overnight: a middling network",
    widths=(64, 128, 128),
    layers=2,
    attention=(False, False, True),
    prediction="residual",
    patches="guided",
    steps=20_000,
    batch=32,
    learning_rate=4e-4,
    ema_decay=0.999,
    sampler="dpm++",
    sampler_steps=20,
)

PAPER = Preset(
    name="paper",
    summary=(
        "the paper's protocol on a GPU: T = 1000, 32 x 32 blocks, L2 loss on the noise, ancestral "
        "sampler; ours where it is silent: linear betas 1e-4 to 0.02, sigma = sqrt(beta_tilde), "
        "widths, AdamW, steps, EMA"
    ),
    widths=(128, 256, 256, 256),
    layers=2,
    attention=(False, True, True, False),
    groups=32,
    steps=100_000,
    batch=64,
    learning_rate=2e-4,
    decay="constant",
    warmup=1000,
    ema_decay=0.9999,
    sampler="ddpm",
    sampler_steps=1000,
    checkpoint_every=2000,
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (INSTANT, TINY, SMALL, PAPER)}


def resolve_preset(preset: str | Preset) -> Preset:
    """A preset by name, or the preset itself."""
    if isinstance(preset, Preset):
        return preset
    if not isinstance(preset, str):
        raise TypeError(
            f"HUD.fit: `preset` must be a name or a Preset, got {type(preset).__name__}"
        )
    if preset not in PRESETS:
        raise ValueError(f"HUD.fit: `preset` must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset]
