"""Training of baselines: stages of steps, each step's draws named by its number, states kept on the way.

A step is a function of what was learned before it and of its number: it draws from torch's global generator, which is
set from (seed, stage, step) before each. So a training that is killed goes on from its last state to the same
weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.diffusion.seeds import Stream, number

Progress = Callable[[int, int], None]
Step = Callable[[int], float | Tensor]  # number of the step, from 0 -> loss

ENTRIES = 100  # of a stage's history, at most
EVERY = 60.0  # seconds between two states


@dataclass(frozen=True, eq=False)
class Stage:
    """So many steps of one kind."""

    name: str
    steps: int
    step: Step
    optimizers: Mapping[str, torch.optim.Optimizer] = field(default_factory=dict)
    rate: Callable[[int], float] | None = (
        None  # of the step: times the optimizers' own learning rates
    )


def train(
    networks: nn.ModuleDict,
    stages: list[Stage],
    *,
    seed: int,
    device: torch.device,
    settings: Mapping[str, Any],
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run all stages in order and return the history: stage, step, loss (mean since the entry before), seconds.

    Parameters
    ----------
    networks
        All that is learned, averages included.
    stages
        `step` computes one step and applies it; the optimizers' states are kept with the networks'.
    settings
        What a state must agree on to be gone on from.
    folder
        Of the states; None keeps none.

    Raises
    ------
    RuntimeError
        A loss that is not finite.
    ValueError
        A state of another training in `folder`.
    """
    folder_of_states = None if folder is None else CheckpointFolder(folder)
    history: list[dict[str, Any]] = []
    begun, first = 0, 0  # stage and step to go on with
    kept = None if folder_of_states is None else folder_of_states.newest()
    if kept is not None:
        tensors, record = kept
        if record["settings"] != settings:
            raise ValueError(
                f"fit: `checkpoint_dir` must hold states of this training, got others in {folder}: give the same "
                "settings, another folder, or resume=False"
            )
        begun, first, history = record["stage"], record["step"], record["history"]
        _restore(networks, stages, begun, tensors)
    before = sum(stage.steps for stage in stages[:begun]) + first
    total = sum(stage.steps for stage in stages)
    elapsed = history[-1]["seconds"] if history else 0.0
    start = saved = time.monotonic()
    done = before
    for number_of, stage in enumerate(stages):
        if number_of < begun:
            continue
        entry = max(1, stage.steps // ENTRIES)
        rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in stage.optimizers.items()
        }
        losses: list[float | Tensor] = []
        for step in range(first if number_of == begun else 0, stage.steps):
            for name, optimizer in stage.optimizers.items():
                for group, rate in zip(optimizer.param_groups, rates[name], strict=True):
                    group["lr"] = rate if stage.rate is None else rate * stage.rate(step)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(number(seed, Stream.TRAINING, number_of, step) >> 1)
                losses.append(stage.step(step))
            done += 1
            if (step + 1) % entry == 0 or step + 1 == stage.steps:
                loss = sum(float(one) for one in losses) / len(losses)
                if loss != loss or abs(loss) == float("inf"):
                    raise RuntimeError(
                        f"fit: the loss of {stage.name} is {loss} after {step + 1} steps: "
                        "give another seed"
                    )
                seconds = elapsed + time.monotonic() - start
                history.append(
                    {"stage": stage.name, "step": step + 1, "loss": loss, "seconds": seconds}
                )
                losses = []
                if folder_of_states is not None and time.monotonic() - saved > EVERY:
                    saved = time.monotonic()
                    record = {
                        "settings": dict(settings),
                        "stage": number_of,
                        "step": step + 1,
                        "history": history,
                    }
                    folder_of_states.save(done, _state(networks, stages, number_of), record)
            if progress is not None:
                progress(done, total)
    return history


def _state(networks: nn.ModuleDict, stages: list[Stage], at: int) -> dict[str, Tensor]:
    """Of all networks, and of the optimizers of the stage that is running."""
    tensors = {f"network.{name}": value for name, value in networks.state_dict().items()}
    for name, optimizer in stages[at].optimizers.items():
        for place, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{name}.{place}.{key}"] = torch.as_tensor(value)
    return tensors


def _restore(
    networks: nn.ModuleDict, stages: list[Stage], at: int, tensors: Mapping[str, Tensor]
) -> None:
    networks.load_state_dict(
        {name.removeprefix("network."): v for name, v in tensors.items() if name[:8] == "network."}
    )
    for name, optimizer in stages[at].optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimizer.{name}."
        for key, value in tensors.items():
            if key.startswith(prefix):
                place, what = key.removeprefix(prefix).split(".", 1)
                state.setdefault(int(place), {})[what] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
