"""A scene classifier's folder: config.json and network.safetensors. See `diffusion.folders`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hud_fast.diffusion.folders import FolderKind
from hud_fast.diffusion.records import Record
from hud_fast.metrics._classifier_networks import KINDS, Network

if TYPE_CHECKING:
    from hud_fast.metrics.classifier import SceneClassifier

NETWORK = "network.safetensors"
FOLDER = FolderKind("SceneClassifier", "classifier", "hud_fast classifier", 1, (NETWORK,))
_MOST_CLASSES = 1 << 31  # a label is no larger


def save_classifier(classifier: SceneClassifier, folder: Path) -> None:
    """Write `classifier` to `folder`, all or nothing."""
    config: dict[str, Any] = {
        "kind": classifier.kind,
        "C": classifier.C,
        "classes": list(classifier.classes),
        "settings": dict(classifier.settings),
        "accuracies": {
            name: {
                "right": round(one.right * one.pixels),
                "largest": round(one.largest * one.pixels),
                "pixels": one.pixels,
            }
            for name, one in classifier.accuracies.items()
        },
    }
    FOLDER.write(folder, config, {NETWORK: classifier.network.weights()})


def load_classifier(folder: Path, device: torch.device) -> SceneClassifier:
    """Read a classifier from `folder`, onto a device."""
    from hud_fast.metrics.classifier import Accuracy, SceneClassifier

    config, (weights,) = FOLDER.read(folder)
    facts = Record("SceneClassifier.load", folder, config)
    kind = facts.text("kind", KINDS)
    C, settings = facts.whole("C", least=1), facts.numbers("settings")
    count = len(facts.values["classes"]) if isinstance(facts.values.get("classes"), list) else 2
    classes = facts.wholes("classes", max(count, 2), _MOST_CLASSES)
    layers = facts.part("settings").whole("layers", most=len(weights))
    network = _network(facts, kind, C, len(classes), layers, weights)
    accuracies, stored = {}, facts.part("accuracies")
    for name in stored.values:
        one = stored.part(name)
        pixels = one.whole("pixels", least=1)
        right, largest = (one.whole(key, most=pixels) / pixels for key in ("right", "largest"))
        accuracies[name] = Accuracy(right, largest, pixels)
    return SceneClassifier(network.to(device), kind, classes, settings, accuracies)


def _network(
    facts: Record, kind: str, C: int, K: int, layers: int, weights: dict[str, Tensor]
) -> Network:
    """The network of these facts, once it is known to be no larger than what the file holds."""
    stored = Record(facts.caller, facts.folder, weights)
    with torch.device("meta"):  # shapes without memory
        wanted = Network(kind, C, K, layers).weights()
    if weights.keys() != wanted.keys():
        raise stored.damaged(f"{NETWORK} is of another network")
    for name, like in wanted.items():
        value = stored.tensor(name, tuple(like.shape))
        if name == "std" and not bool((value > 0).all()):
            raise stored.damaged(f"`{name}` must be above 0")
        if name.endswith("running_var") and bool((value < 0).any()):
            raise stored.damaged(f"`{name}` must not be negative")
    network = Network(kind, C, K, layers)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
