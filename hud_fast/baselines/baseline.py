"""What every rival of HUD is here: fitted to one scene, sampled, saved and loaded as a HUD model is."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast._checks import check_choice, check_count, check_seed
from hud_fast._text import printable
from hud_fast._torch_state import in_plain_torch
from hud_fast.baselines.training import Progress, Stage, train
from hud_fast.baselines.windows import Scaling, Windows
from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.diffusion.checks import available_device
from hud_fast.diffusion.folders import FolderKind
from hud_fast.diffusion.records import LARGEST, Record
from hud_fast.diffusion.scene_facts import SceneFacts
from hud_fast.diffusion.seeds import Stream, generator, number
from hud_fast.scenes import Scene

BUDGETS = ("micro", "demo", "paper")
BATCH = 8  # samples at a time
MOST = 1 << 16  # a setting beyond is of no network that a file could hold
WEIGHTS = "network.safetensors"
FOLDER = FolderKind("Baseline", "baseline", "hud_fast baseline", 1, (WEIGHTS,))


@dataclass(frozen=True)
class Settings:
    """Sizes and lengths of one method; each method adds its own. All are whole numbers or floats."""

    crop: int = 32  # side of the windows

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


class Baseline(ABC):
    """A method that generates cubes after it saw one scene.

    Made by `fit` or `load`. A method says what its networks are (`build`), how they are trained (`stages`) and how
    samples are drawn (`draw`); the rest is here.

    Attributes
    ----------
    name, title : str
        In commands and folders; in tables.
    generates : bool
        False where "samples" are reconstructions of training windows.
    source : str
        The paper.
    networks : nn.ModuleDict
    settings, budget, scaling, scene, seed, history
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    generates: ClassVar[bool] = True
    budgets: ClassVar[Mapping[str, Settings]]  # one of each of BUDGETS

    def __init__(
        self,
        C: int,
        settings: Settings,
        scaling: Scaling,
        scene: SceneFacts,
        *,
        budget: str,
        seed: int,
    ) -> None:
        self.C, self.settings, self.scaling, self.scene = C, settings, scaling, scene
        self.budget, self.seed = budget, seed
        self.history: list[dict[str, Any]] = []
        self.networks = self.build()

    @abstractmethod
    def build(self) -> nn.ModuleDict:
        """All networks, untrained; their shapes follow from C and the settings alone."""

    @abstractmethod
    def stages(self, windows: Windows) -> list[Stage]:
        """The training, on networks that are on the windows' device."""

    @abstractmethod
    def draw(self, samples: range, seed: int) -> Tensor:  # (n, C, crop, crop) in [-1, 1]
        """Samples of these numbers; each depends on its number and the seed alone."""

    @abstractmethod
    def one_pass(self) -> None:
        """One forward pass of each network that makes a sample, for one block: what its GFLOP are counted of."""

    def learn(self, windows: Windows) -> None:  # noqa: B027  (most methods keep nothing)
        """What is kept of the training's windows beside the weights, before the first step: nothing.

        A method that takes more in `fit` than its base hands it on to here.
        """

    @property
    def device(self) -> torch.device:
        return next(self.networks.parameters()).device

    @classmethod
    @in_plain_torch
    def fit(
        cls,
        scene: Scene,
        *,
        budget: str = "demo",
        seed: int = 0,
        device: str | torch.device | None = None,
        scaling: Scaling | None = None,
        settings: Mapping[str, Any] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        resume: bool = True,
        progress: Progress | None = None,
        **more: Any,
    ) -> Self:
        """Train on windows of a scene.

        Parameters
        ----------
        scene : Scene
            Bad bands are dropped first; windows with a masked or non-finite pixel are never learned from.
        budget : {"micro", "demo", "paper"}
            Sizes and steps: a test's, some minutes of a CPU's, the paper's authors'.
        seed : int
            Of first weights and every training step.
        device : str or torch.device, optional
            Default: the GPU where there is one.
        scaling : Scaling, optional
            To [-1, 1]; by default from 0 (or the smallest value) to the largest of the scene.
        settings : mapping, optional
            Changes of the budget's settings, by name.
        checkpoint_dir : path, optional
            Folder for the training's states; a training that is killed goes on from the newest.
        resume : bool
            Whether to go on from `checkpoint_dir`; False removes the states there.
        progress : callable, optional
            Called as progress(done, total) with steps.
        **more
            What a method takes beside: see its own `fit`.

        Raises
        ------
        TypeError, ValueError
            An argument of the wrong type or out of its range; a scene without a window free of masked pixels.
        RuntimeError
            A device that is not there; a loss that is not finite.
        """
        caller = f"{cls.__name__}.fit"
        if not isinstance(scene, Scene):
            raise TypeError(f"{caller}: `scene` must be a Scene, got {type(scene).__name__}")
        check_choice(caller, "budget", budget, BUDGETS)
        seed = check_seed(caller, seed)
        where = available_device(caller, device)
        chosen = cls.budgets[budget]
        known = {field.name for field in fields(chosen)}
        for name, value in (settings or {}).items():
            if name not in known:
                raise ValueError(
                    f"{caller}: `settings` must be of {', '.join(sorted(known))}, got {name!r}"
                )
            if not _fits(value, getattr(chosen, name)):
                raise ValueError(
                    f"{caller}: `settings` must hold {name} as {_wanted(getattr(chosen, name))}, got {value!r:.80}"
                )
        chosen = replace(chosen, **(settings or {}))
        scene = scene.drop_bad_bands()
        scaling = Scaling.of(scene) if scaling is None else scaling
        if not isinstance(scaling, Scaling):
            raise TypeError(f"{caller}: `scaling` must be a Scaling, got {type(scaling).__name__}")
        with torch.random.fork_rng([]):
            torch.manual_seed(number(seed, Stream.NETWORK) >> 1)
            made = cls(scene.C, chosen, scaling, SceneFacts.of(scene), budget=budget, seed=seed)
        made.networks.to(where)
        windows = Windows(scene, scaling, chosen.crop, where)
        made.learn(windows, **more)
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        if folder is not None and not resume:
            CheckpointFolder(folder).clear()
        made.networks.train()
        made.history = train(
            made.networks,
            made.stages(windows),
            seed=seed,
            device=where,
            settings={
                "method": cls.name,
                "seed": seed,
                "C": scene.C,
                "pixels": windows.digest,
                "scaling": list(asdict(scaling).values()),
                **chosen.to_dict(),
            },
            folder=folder,
            progress=progress,
        )
        made.networks.eval().requires_grad_(False)
        return made

    @in_plain_torch
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:  # (n, crop, crop, C)
        """Generate cubes in the unit of the scene's cube.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Of the noise: sample i depends on the model, `seed` and i.
        first : int
            Number of the first.
        progress : callable, optional
            Called as progress(done, n).
        """
        caller = f"{type(self).__name__}.sample"
        n = check_count(caller, "n", n)
        seed, first = check_seed(caller, seed), check_count(caller, "first", first, least=0)
        side = self.settings.crop
        cubes = np.empty((n, side, side, self.C), np.float32)
        done = 0
        # Whole batches that begin at multiples of BATCH: a convolution's last bits depend on how many are convolved.
        for begin in range(first - first % BATCH, first + n, BATCH):
            batch = range(begin, begin + BATCH)
            asked = slice(max(first - begin, 0), min(first + n - begin, BATCH))
            with torch.inference_mode():
                unit = self.draw(batch, seed)[asked]
                cubes[done : done + len(unit)] = (
                    self.scaling.decode(unit).movedim(1, -1).cpu().numpy()
                )
            done += len(unit)
            if progress is not None:
                progress(done, n)
        return cubes

    def noise(self, samples: range, seed: int, *shape: int) -> Tensor:  # (n, *shape)
        """Standard normal numbers, each sample's own."""
        drawn = [torch.randn(shape, generator=generator(seed, Stream.SAMPLING, i)) for i in samples]
        return torch.stack(drawn).to(self.device)

    def summary(self) -> dict[str, Any]:
        """The model in plain, JSON-able numbers and words."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        # attention as matrix products: the CPU's one operation is not counted
        by_products = sdpa_kernel(SDPBackend.MATH)
        with torch.inference_mode(), by_products, FlopCounterMode(display=False) as counter:
            self.one_pass()
        return {
            "method": self.name,
            "source": self.source,
            "generates": self.generates,
            "budget": self.budget,
            "settings": self.settings.to_dict(),
            "parameters": sum(p.numel() for p in self.networks.parameters()),
            "gflop": counter.get_total_flops() / 1e9,
            "training_steps": {entry["stage"]: entry["step"] for entry in self.history},
            "training_seconds": self.history[-1]["seconds"] if self.history else None,
            "final_loss": self.history[-1]["loss"] if self.history else None,
            "seed": self.seed,
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder, all or nothing; an older model there is replaced.

        Raises
        ------
        FileExistsError
            If the folder holds anything else.
        """
        scene = self.scene
        config = {
            "method": self.name,
            "budget": self.budget,
            "settings": self.settings.to_dict(),
            "seed": self.seed,
            "C": self.C,
            "scaling": asdict(self.scaling),
            "scene": {
                "name": scene.name,
                "scale": scene.scale,
                "rgb_bands": [int(band) for band in scene.rgb_bands],
                "simulated": scene.simulated,
            },
            "history": self.history,
        }
        FOLDER.write(Path(folder), config, {WEIGHTS: self.networks.state_dict()})

    @classmethod
    @in_plain_torch
    def load(
        cls, folder: str | os.PathLike[str], *, device: str | torch.device | None = None
    ) -> Self:
        """Read a model of this method that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or it is not a baseline.
        OSError
            If a file is damaged.
        ValueError
            If it is of another method, or was written by a newer version of the package.
        """
        path = Path(folder)
        where = available_device(f"{cls.__name__}.load", device)
        config, (weights,) = FOLDER.read(path)
        facts = Record(f"{cls.__name__}.load", path, config)
        method = facts.text("method")
        if method != cls.name:
            raise ValueError(
                f"{cls.__name__}.load: `folder` must hold a model of {cls.name}, got {printable(method, 80)} in {path}"
            )
        budget = facts.text("budget", BUDGETS)
        given, like = facts.part("settings").values, cls.budgets[budget].to_dict()
        fits = given.keys() == like.keys() and all(_fits(given[name], like[name]) for name in like)
        if not fits:
            raise facts.damaged("its settings are of another method or out of range")
        of_scene, scaling = facts.part("scene"), facts.part("scaling").values
        C = facts.whole("C", least=1, most=MOST)
        scene = SceneFacts(
            name=of_scene.text("name"),
            wavelengths=None,
            scale=of_scene.positive("scale"),
            rgb_bands=of_scene.wholes("rgb_bands", 3, C - 1),  # type: ignore[arg-type]
            simulated=of_scene.flag("simulated"),
        )
        try:
            settings, linear = replace(cls.budgets[budget], **given), Scaling(**scaling)
            with torch.device(
                "meta"
            ):  # shapes without memory: nothing larger than the file is made
                made = cls(C, settings, linear, scene, budget=budget, seed=facts.whole("seed"))
            wanted = made.networks.state_dict()
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            raise facts.damaged(error) from error
        kinds = [{k: (v.shape, v.dtype) for k, v in some.items()} for some in (wanted, weights)]
        if kinds[0] != kinds[1]:
            raise facts.damaged(f"{WEIGHTS} is of another network")
        if not all(bool((v.abs() <= LARGEST).all()) for v in weights.values()):
            raise facts.damaged(f"{WEIGHTS} holds NaN or a number beyond {LARGEST:g}")
        if any(bool((v < 0).any()) for k, v in weights.items() if k.endswith("running_var")):
            raise facts.damaged(f"{WEIGHTS} holds a variance below 0")
        made.networks.load_state_dict(weights, assign=True)
        made.networks.to(where).eval().requires_grad_(False)
        made.history = _history(facts)
        return made


def _fits(value: object, like: float) -> bool:
    """Whether a setting is of the kind of the budget's, and no larger than any that `load` takes."""
    return type(value) is type(like) and 0 <= value <= MOST


def _wanted(like: float) -> str:
    return f"{'a whole number' if type(like) is int else 'a float'} from 0 to {MOST}"


def _history(facts: Record) -> list[dict[str, Any]]:
    """The training's entries, each with the name of its stage and three numbers."""
    entries = facts.values.get("history")
    kinds = {"stage": str, "step": int, "loss": float, "seconds": float}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or {k: type(v) for k, v in entry.items()} != kinds:
            raise facts.damaged("`history` must be a list of stage, step, loss and seconds")
    return list(entries)
