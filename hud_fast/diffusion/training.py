"""Training: steps on the loss (`loss`), averaged weights, and a state that resumes exactly.

Times are uniform. AdamW, gradient clipping, linear warm-up and (by default) cosine decay of the learning rate, and an
exponential moving average of the weights (diffusers' EMAModel), which is what samples.

Each step draws its windows and times from a generator of its own, and its noise at an address, both
functions of (seed, step): a training that is killed and resumed at any checkpoint replays the same
steps, and on a CPU with the same number of threads ends in the same bits.

A batch may go through the network in parts (`accumulate`): every part is a slice of the same draws, so the step is
the same to rounding, with less memory. On a CPU each core takes parts of its own and meets the others once a step
(`Crew`); gradients are added in the parts' order, whoever was first.

Several processes (`processes`) share a batch: each draws all of it and takes its slice, gradients are averaged (on GPUs
by torch's DistributedDataParallel) before they are clipped, so all weights stay equal. The step is again the same to
rounding.

What a step computes on the device waits for nothing from the host and reads only tensors that stay in
place, so that a GPU may replay it as a CUDA graph (one process only).
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from hud_fast._cores import Crew, cores_for
from hud_fast.diffusion import processes
from hud_fast.diffusion.capture import Repeated, Told, captures
from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.joint import ClassChannels, draw_told, window_classes
from hud_fast.diffusion.loss import CLASSES, loss_weights, squared_error
from hud_fast.diffusion.memory import enough_memory
from hud_fast.diffusion.network import Denoiser, memory_format, place, predict
from hud_fast.diffusion.noise import addressed_noise, noise_key
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.schedule import NoiseSchedule, add_noise, velocity
from hud_fast.diffusion.seeds import Stream, generator

# Settings that do not change what step k computes: a training may go on with others.
FREE = frozenset(
    ["name", "summary", "patches", "sampler", "sampler_steps", "sigma", "checkpoint_every", "keep"]
)


class Trainer:
    """One training: network, its average, optimiser, and how many steps are done.

    Parameters
    ----------
    network : Denoiser
        Trained in place.
    crops : CropSampler
        Where the windows come from; its device is the training's.
    preset : Preset
        Settings.
    seed : int
        Of the draws.
    data : mapping, optional
        JSON-able facts about the training data, which a checkpoint must agree with.
    capture : bool, optional
        Whether a GPU replays the steps as a CUDA graph.
    classes : ClassChannels, optional
        Of a network of K classes, whose channels are the last K of the windows: of the one scene, on the same device.
    """

    def __init__(
        self,
        network: Denoiser,
        crops: CropSampler,
        preset: Preset,
        *,
        seed: int,
        data: Mapping[str, Any] | None = None,
        capture: bool | None = None,
        classes: ClassChannels | None = None,
    ) -> None:
        from diffusers.training_utils import EMAModel

        self.device = crops.device
        place(network, self.device)
        self.network = network.train()
        self.crops, self.preset, self.seed, self.data = crops, preset, seed, dict(data or {})
        given = 0 if classes is None else classes.K
        if given != network.K:
            raise ValueError(
                f"Trainer: `classes` must be of the network's {network.K} classes, got {given}"
            )
        self.classes = classes
        self._class_pixels = None if classes is None else classes.pixels
        self.schedule = NoiseSchedule.of(preset)
        self.names = [name for name, _ in network.named_parameters()]
        self.parameters = list(network.parameters())
        # On a GPU the rate is a tensor: a captured step must not remember a number.
        on_gpu = self.device.type == "cuda"
        rate = preset.learning_rate
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=torch.tensor(rate, device=self.device) if on_gpu else rate,
            weight_decay=preset.weight_decay,
            fused=True,
            capturable=on_gpu,
        )
        self.average = EMAModel(
            self.parameters,
            decay=preset.ema_decay,
            use_ema_warmup=preset.ema_warmup,
            inv_gamma=1.0,
            power=0.75,
            foreach=True,
        )
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        # since the last entry of the history; a tensor, so that no step waits for a GPU
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        # what a step is told: windows, their turns and times, and which classes the network is told of each; its
        # number; the first sample of the batch
        self._told = Told((3 + network.K, preset.batch), self.device)
        self._drawn = self._told.there
        self._number = torch.zeros((), dtype=torch.int64, device=self.device)
        # a part of the batch draws the noise of its items' numbers in the batch; ours are the parts of our share
        self._share = share_of_batch(preset)
        part = len(self._share) // preset.accumulate
        # torch.compile is for one thread at a time
        self._crew = Crew(1, None) if on_gpu or preset.compile else _crew_for(part)
        self._part = part // self._crew.count
        self._firsts = torch.tensor(list(self._share[:: self._part]), device=self.device)
        self._signal = self.schedule.alphas_cumprod.to(self.device)
        weight = loss_weights(preset)
        self._weight = None if weight is None else weight.to(self.device)
        self._called: Callable[..., Tensor] = network
        self._reduced: DistributedDataParallel | None = None
        if on_gpu and processes.count() > 1:
            # the network's buffers are the scene's, equal everywhere from the start
            self._called = self._reduced = DistributedDataParallel(network, broadcast_buffers=False)
        if preset.compile:
            check_compiler(self.device)
            self._called = torch.compile(self._called, dynamic=False)
        self._key = noise_key(seed, Stream.TRAINING_NOISE)
        self._loading: float | None = None
        self._capture = captures(self.device, capture) and processes.count() == 1
        self._repeated = Repeated(self.compute, self.device, capture=self._capture)

    def learning_rate(self, step: int) -> float:
        """Of step `step` (0-based): linear warm-up, then a half cosine down to 1 % or constant."""
        preset = self.preset
        rate = preset.learning_rate * min(1.0, (step + 1) / (preset.warmup + 1))
        if preset.decay == "cosine":
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / preset.steps))
        return rate

    def step(self) -> None:
        """One step of AdamW on the loss."""
        started = time.perf_counter()
        self._draw()
        self._set_rate(self.learning_rate(self.done))
        batch, parts = self.preset.batch, self.preset.accumulate
        with enough_memory(
            f"raise `accumulate` = {parts}, the parts that a batch of {batch} goes through the network in (less at a "
            "time, the same result), or lower `batch`, `crop` or `widths`"
        ):
            self._repeated()
        self._alone(self.average.step, self.parameters)
        self.done += 1
        logged = self.done % self.preset.log_every == 0
        mean = 0.0
        if logged:  # waits for a GPU, and for the other processes
            mean = float(processes.mean(self._loss_sum)) / self.preset.log_every
        self.seconds += time.perf_counter() - started
        if logged:
            if not math.isfinite(mean):
                raise RuntimeError(
                    f"HUD.fit: the loss became {mean} near step {self.done}; lower `learning_rate`"
                )
            if self._loading is None:
                self._loading = self._time_loading()
            entry = {"step": self.done, "loss": mean, "seconds": self.seconds}
            self.history.append({**entry, "loading": self._loading})
            self._loss_sum.zero_()

    def _draw(self) -> None:
        """Tell the device which windows, turns and times this step takes."""
        draw = generator(self.seed, Stream.TRAINING, self.done)
        chosen = self.crops.choose(self.preset.batch, draw)
        times = stratified_times(self.preset.T, self.preset.batch, draw)
        rows = [chosen, times[None]]
        if self.classes is not None:  # drawn last: a training without classes keeps its draws
            rows.append(draw_told(self.preset.batch, self.classes.K, draw))
        self._told.tell(torch.cat(rows))
        self._number.fill_(self.done)

    def _time_loading(self) -> float:
        """Seconds that a step spends on getting its windows: drawn, told to the device, cut."""
        on_gpu = self.device.type == "cuda"
        times = []
        for _ in range(5):  # without consequences: draws have no state
            if on_gpu:
                torch.cuda.synchronize(self.device)
            started = time.perf_counter()
            self._draw()
            ours = self._drawn[:2, self._share.start : self._share.stop]
            for pixels in (None, *([] if self._class_pixels is None else [self._class_pixels])):
                self.crops.cut(ours, pixels)
            if on_gpu:
                torch.cuda.synchronize(self.device)
            times.append(time.perf_counter() - started)
        return sorted(times)[2]

    def compute(self) -> None:
        """The device's part of a step: cut, add noise, predict, go back, move the weights."""
        if self.device.type == "cpu":
            self._gradients_by_crew()
        else:
            self._gradients()
        self._alone(self._move)

    def _gradients(self) -> None:
        """Of the batch, part by part, into the parameters' own."""
        self.optimiser.zero_grad(set_to_none=True)
        for start, first in zip(self._share[:: self._part], self._firsts, strict=True):
            rows = slice(start, start + self._part)
            with self._reduction(last=rows.stop == self._share.stop):
                loss = self._loss(self._drawn[:, rows], first) / self.preset.accumulate
                loss.backward()
            self._loss_sum += loss.detach()

    def _gradients_by_crew(self) -> None:
        """The same, a part a worker at a time: none waits for another within a part."""
        parts = list(
            zip(
                self._drawn[:, self._share.start : self._share.stop].split(self._part, 1),
                self._firsts,
                strict=True,
            )
        )

        def one(part: tuple[Tensor, Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
            loss = self._loss(*part) / len(parts)
            return loss.detach(), torch.autograd.grad(loss, self.parameters)

        total: list[Tensor] = []
        for loss, gradients in self._crew.map(one, parts):
            self._loss_sum += loss
            if total:
                torch._foreach_add_(total, list(gradients))
            else:
                # as the weights lie: AdamW's fused kernel takes it for granted, compiled networks have other orders
                total = [gradient.contiguous() for gradient in gradients]
        if processes.count() > 1:
            vector_to_parameters(processes.mean(parameters_to_vector(total)), total)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient

    def _move(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, self.preset.clip)
        self.optimiser.step()

    def _alone(self, work: Callable[..., None], *given: Any) -> None:
        """Small operations on many tensors, by one worker: several would only wait for each other."""
        for _ in self._crew.map(lambda _: work(*given), [None]):
            pass

    def _reduction(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients go to the other processes with the last part of a batch."""
        if last or self._reduced is None:
            return contextlib.nullcontext()
        return self._reduced.no_sync()

    def _loss(
        self,
        drawn: Tensor,  # (3 + K, b) windows, turns, times, classes told
        first: Tensor,  # (), their first number in the batch
    ) -> Tensor:  # ()
        t = drawn[2]
        z = self.crops.cut(drawn[:2])
        noise = addressed_noise(self._key, first, self._number, tuple(z.shape))
        signal = self._signal[t]
        noisy = add_noise(z, noise, signal)
        noisy = noisy.contiguous(memory_format=memory_format(self.device))
        target = velocity(z, noise, signal) if self.network.says == "v" else noise
        scene = self.crops.scene_of(drawn)
        certainty = told = None
        if self._class_pixels is not None:
            marks = self.crops.cut(drawn[:2], self._class_pixels)
            certainty, told = window_classes(marks, drawn[3:])
        said = predict(self._called, noisy, t, self.preset.precision, scene, told)
        weight = None if self._weight is None else self._weight[t]
        return squared_error(said, target, weight, certainty, self.network.K)

    def _set_rate(self, rate: float) -> None:
        group = self.optimiser.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def averaged_weights(self) -> dict[str, Tensor]:
        """The averaged weights by the network's names: the weights to sample with."""
        return dict(zip(self.names, self.average.shadow_params, strict=True))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything the next step depends on: tensors, and a JSON-able record. All processes must ask for it."""
        tensors = {
            "loss_sum": processes.mean(self._loss_sum)
        }  # what each adds later is averaged later
        for name, parameter, average in zip(
            self.names, self.parameters, self.average.shadow_params, strict=True
        ):
            tensors[f"network.{name}"] = parameter
            tensors[f"average.{name}"] = average
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = value
        record = {
            "step": self.done,
            "seconds": self.seconds,
            "history": self.history,
            "settings": self.settings(),
        }
        return tensors, record

    def settings(self) -> dict[str, Any]:
        """What must be equal for a resumed training to be the same training."""
        settings = {k: v for k, v in self.preset.to_dict().items() if k not in FREE}
        if self.preset.decay == "constant":
            settings.pop("steps")  # a longer training starts with the same steps
        if self.classes is not None:
            settings |= {**self.classes.facts(), "class loss": CLASSES}
        # the draws themselves: a checkpoint of the time of another generator is of another training
        return {**settings, "seed": self.seed, "noise": "philox", **self.data}

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Continue from a state; ValueError naming the first setting that differs."""
        saved, wanted = record["settings"], self.settings()
        for name in sorted(saved.keys() | wanted.keys()):
            was, now = saved.get(name), wanted.get(name)
            if not _same(was, now):
                raise ValueError(
                    f"HUD.fit: the checkpoint was made with `{name}` = {was}, this training has "
                    f"{now}; use another checkpoint folder, or resume=False to start over"
                )
        with torch.no_grad():
            for name, parameter, average in zip(
                self.names, self.parameters, self.average.shadow_params, strict=True
            ):
                parameter.copy_(tensors[f"network.{name}"])
                average.copy_(tensors[f"average.{name}"])
                self.optimiser.state[parameter] = {
                    # fused AdamW keeps its step count beside the parameters
                    key: tensors[f"optimiser.{key}.{name}"].to(self.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }
            self._loss_sum.copy_(tensors["loss_sum"])
        self.done = self.average.optimization_step = record["step"]
        self.seconds, self.history = record["seconds"], list(record["history"])
        self._repeated = Repeated(self.compute, self.device, capture=self._capture)


def share_of_batch(preset: Preset) -> range:
    """The items of a batch that this process trains on.

    Raises
    ------
    ValueError
        If a batch does not fall into equal parts.

    Examples
    --------
    >>> from hud_fast.diffusion.presets import PRESETS
    >>> share_of_batch(PRESETS["tiny"])
    range(0, 8)
    """
    count, parts = processes.count(), preset.accumulate
    if preset.batch % (count * parts):
        raise ValueError(
            f"HUD.fit: `batch` must be a multiple of {count * parts} ({count} processes, "
            f"{parts} parts each), got {preset.batch}"
        )
    share = preset.batch // count
    return range(processes.rank() * share, (processes.rank() + 1) * share)


def _crew_for(items: int) -> Crew:
    """As many workers as can share `items` equally, with the cores there are."""
    cores = cores_for(sys.maxsize)
    count = max(n for n in range(1, min(cores, items) + 1) if items % n == 0)
    return Crew(count, cores // count)


def stratified_times(T: int, batch: int, generator: torch.Generator) -> Tensor:  # (batch,) int64
    """Times for a batch, one from each of `batch` equal stretches of 0 .. T - 1.

    Taken over the batch each time is as likely as any other, as eq. 15 wants, with less spread of
    the loss from batch to batch than independent draws have.
    """
    where = torch.arange(batch) + torch.rand(batch, generator=generator, dtype=torch.float64)
    return (where * (T / batch)).long().clamp_max(T - 1)


def check_compiler(device: torch.device) -> None:
    """Say early that torch.compile has nothing to compile with on a CPU."""
    names = (os.environ.get("CXX"), "g++", "c++", "clang++")
    if device.type == "cpu" and not any(name and shutil.which(name) for name in names):
        raise RuntimeError(
            "HUD.fit: `compile` must have a C++ compiler on a CPU, got none of CXX, g++, c++, clang++"
        )


def _same(a: object, b: object) -> bool:
    """Equality; to 0.1 % for floats, since another CPU's abundances differ in their last bits."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-9)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def train(
    trainer: Trainer,
    *,
    folder: Path | None = None,
    resume: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the steps that are missing, keeping the newest states in `folder`.

    Parameters
    ----------
    trainer : Trainer
        Brought to ``preset.steps`` steps.
    folder : Path, optional
        Of the checkpoints; without it nothing is written. Only the first process reads and writes there.
    resume : bool
        Continue from the newest whole checkpoint of `folder`; False removes the folder's
        checkpoints.
    progress : callable, optional
        Called as ``progress(done, total)`` after each step, in the first process.

    Raises
    ------
    ValueError
        If the checkpoint is of a training with other settings.
    """
    preset = trainer.preset
    first = processes.is_first()
    store: CheckpointFolder | None = None

    def found() -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        nonlocal store
        if folder is None:
            return None
        store = CheckpointFolder(folder, preset.keep)
        if not resume:
            store.clear()
        return store.newest()

    def keep(state: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        assert store is not None
        store.save(trainer.done, *state)

    state = processes.on_first(found)
    if state is not None:
        trainer.restore(*state)
    if progress is not None and first:
        progress(trainer.done, preset.steps)
    while trainer.done < preset.steps:
        trainer.step()
        last = trainer.done == preset.steps
        if folder is not None and (last or trainer.done % preset.checkpoint_every == 0):
            processes.on_first(partial(keep, trainer.state()))
        if progress is not None and first:
            progress(trainer.done, preset.steps)
